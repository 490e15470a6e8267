"""A scale per channel of an activation: what leaves the integers, and what depthwise kernels read.

The reference quantizes with :mod:`onnxq.numerics.affine` per channel between float convolutions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.numerics.affine import dequantize
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.plan.channels import common_params
from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, QParams, QuantSpec
from onnxq.plan.weight_codes import weight_codes
from tests.numerics.rounding import fake_quantize
from tests.passes.lower.optimized import assert_runs_alike, lowered, optimized_ops
from tests.passes.plan.planning import hand_context
from tests.passes.rewrite.building import build, rng_weight
from tests.support import run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

U8, S8 = IntType.parse("uint8"), IntType.parse("int8")

X_PLAN = ValuePlan(
    QuantSpec(U8, symmetric=False), QParams(np.asarray(0.03, np.float32), np.asarray(127))
)


def fitted(source: ir.Model, values: dict[str, ValuePlan], *weights: str) -> QuantPlan:
    """The plan of ``values`` and of weights that suit them."""
    wish = ValuePlan(QuantSpec(S8, symmetric=True, granularity=PerAxis(0)))
    plan = QuantPlan({**values, **dict.fromkeys(weights, wish)})
    return FitWeights().revise(hand_context(source), plan)


def channel_plan(scale: npt.ArrayLike, zero_point: npt.ArrayLike) -> ValuePlan:
    spec = QuantSpec(U8, symmetric=False, granularity=PerAxis(1))
    return ValuePlan(spec, QParams(np.asarray(scale, np.float32), np.asarray(zero_point)))


def faked(x: npt.NDArray[np.float32], plan: ValuePlan) -> npt.NDArray[np.float32]:
    assert plan.params is not None
    axis = 1 if plan.params.scale.ndim else None
    return fake_quantize(x, plan.params.scale, plan.params.zero_point, (0, 255), axis)


def convolved(
    x: npt.NDArray[np.float32],
    w: npt.NDArray[np.float32],
    b: npt.NDArray[np.float32] | None = None,
    group: int = 1,
) -> npt.NDArray[np.float32]:
    """The float convolution."""
    declared = "" if b is None else f", float[{b.size}] b"
    source = build(
        f"""f (float[{",".join(map(str, x.shape))}] x, float[{",".join(map(str, w.shape))}] w
            {declared}) => (float[1,C,M,N] y) {{
            y = Conv<group = {group}>(x, w{"" if b is None else ", b"}) }}""",
        w=w,
        **({} if b is None else {"b": b}),
    )
    return run(source, {"x": x})["y"]


def reals_of(
    weight: npt.NDArray[np.float32], plan: ValuePlan, folded: npt.ArrayLike = 1.0
) -> npt.NDArray[np.float32]:
    """What the codes of ``weight`` stand for, without the input's scales folded into them."""
    assert plan.params is not None
    codes = weight_codes(weight, plan)
    reals = dequantize(codes, plan.params.scale, plan.params.zero_point, 0)
    return np.asarray(reals / np.asarray(folded), np.float32)


def exit_model(relu: bool, bias: bool) -> ir.Model:
    made = "c = Conv(x, w, b) y = Relu(c)" if relu else "y = Conv(x, w, b)"
    return build(
        f"""f (float[1,4,9,9] x, float[5,4,3,3] w, float[5] b) => (float[1,5,7,7] y) {{
            {made if bias else made.replace(", b)", ")")} }}""",
        w=rng_weight(5, 4, 3, 3),
        b=rng_weight(5),
    )


SCALES = [0.011, 0.5, 0.09, 0.03, 0.2]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize(
    ("relu", "zero_point"),
    [(False, [128, 128, 128, 128, 128]), (False, [3, 200, 128, 90, 255]), (True, [0] * 5)],
    ids=["common-zero", "own-zeros", "relu"],
)
def test_an_exit_writes_each_channel_with_its_own_params(
    relu: bool, zero_point: list[int], bias: bool
) -> None:
    source = exit_model(relu, bias)
    y = channel_plan(SCALES, zero_point)
    plan = fitted(source, {"x": X_PLAN, "y": y}, "w")
    made = lowered(source, plan)
    w = reals_of(rng_weight(5, 4, 3, 3), plan.values["w"])
    x = np.random.default_rng(1).standard_normal((1, 4, 9, 9)).astype(np.float32)
    real = convolved(faked(x, X_PLAN), w, rng_weight(5) if bias else None)
    wanted = faked(np.maximum(real, 0) if relu else real, y)
    found = run(made, {"x": x})["y"]
    codes = np.abs(found - wanted) / np.asarray(SCALES, np.float32).reshape(-1, 1, 1)
    assert codes.max() <= 1.001
    assert (codes > 0.5).mean() < 0.02
    assert_runs_alike(made, [{"x": x}], {"y": max(SCALES)})
    assert len(np.unique(wanted)) > 50
    ops = optimized_ops(made)
    assert ops["QLinearConv"] == 1
    assert ops["Conv"] + ops["FusedConv"] + ops["Relu"] == 0


@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize(
    ("shape", "group"), [((5, 1, 3, 3), 5), ((6, 5, 3, 3), 1)], ids=["depthwise", "dense"]
)
def test_a_convolution_reads_a_scale_per_channel(
    shape: tuple[int, ...], group: int, relu: bool
) -> None:
    middle = "a = Conv(x, w, b) c = Relu(a)" if relu else "c = Conv(x, w, b)"
    d, e = rng_weight(*shape, seed=1), rng_weight(shape[0], seed=2)
    source = build(
        f"""f (float[1,4,9,9] x, float[5,4,3,3] w, float[5] b, float[{",".join(map(str, shape))}] d,
            float[{e.size}] e) => (float[1,{e.size},5,5] y) {{
            {middle}
            y = Conv<group = {group}>(c, d, e) }}""",
        w=rng_weight(5, 4, 3, 3), b=rng_weight(5), d=d, e=e,
    )  # fmt: skip
    c = channel_plan(SCALES, [0 if relu else 120] * 5)
    step = 0.4 if group > 1 else 1.0
    y = replace(X_PLAN, params=QParams(np.asarray(step, np.float32), np.asarray(128)))
    plan = fitted(source, {"x": X_PLAN, "c": c, "y": y}, "w", "d")
    made = lowered(source, plan)
    x = np.random.default_rng(1).standard_normal((1, 4, 9, 9)).astype(np.float32)
    w = reals_of(rng_weight(5, 4, 3, 3), plan.values["w"])
    real = convolved(faked(x, X_PLAN), w, rng_weight(5))
    inner = faked(np.maximum(real, 0) if relu else real, c)
    assert c.params is not None
    folded = (c.params.scale / common_params(c.params).scale).reshape(
        (-1, 1, 1, 1) if group > 1 else (1, -1, 1, 1)
    )
    product = convolved(inner, reals_of(d, plan.values["d"], folded), e, group)
    wanted = faked(product, y)
    found = run(made, {"x": x})["y"]
    assert np.abs(found - wanted).max() <= 2.001 * step
    assert (np.abs(found - wanted) > step / 2).mean() < 0.05
    assert len(np.unique(wanted)) > 30
    assert_runs_alike(made, [{"x": x}], {"y": step}, layers=2)
    ops = optimized_ops(made)
    assert ops["QLinearConv"] == 2
    assert ops["Conv"] + ops["FusedConv"] + ops["Relu"] == 0


def test_absorbing_scales_leaves_the_weight_codes_alone() -> None:
    source = exit_model(relu=False, bias=True)
    plan = fitted(source, {"x": X_PLAN, "y": channel_plan(SCALES, [128] * 5)}, "w")
    stored = [
        value.const_value.numpy()
        for value in lowered(source, plan).graph.initializers.values()
        if value.const_value is not None and value.const_value.numpy().dtype == np.int8
    ]
    codes = weight_codes(rng_weight(5, 4, 3, 3), plan.values["w"])
    np.testing.assert_array_equal(stored[0], codes)


def test_a_channel_of_zeros_does_not_disturb_the_others() -> None:
    source = exit_model(relu=False, bias=True)
    x = np.random.default_rng(1).standard_normal((1, 4, 9, 9)).astype(np.float32)
    found = []
    for dead in (1.0, 0.03):
        y = channel_plan([*SCALES[:4], dead], [128] * 5)
        made = lowered(source, fitted(source, {"x": X_PLAN, "y": y}, "w"))
        found.append(run(made, {"x": x}, "all")["y"][:, :4])
    moved = np.abs(found[0] - found[1]) / np.asarray(SCALES[:4], np.float32).reshape(-1, 1, 1)
    assert moved.max() <= 1.001
    assert (moved > 0.5).mean() < 0.02
