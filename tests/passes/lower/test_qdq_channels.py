"""A scale per channel of an activation: what leaves the integers, and what depthwise kernels read.

The reference quantizes with :mod:`onnxq.numerics.affine` per channel between float convolutions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.numerics.affine import dequantize, fake_quantize
from onnxq.passes.lower.qdq import weight_codes
from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, QParams, QuantSpec
from tests.passes.lower.optimized import assert_runs_alike, lowered, optimized_ops
from tests.passes.rewrite.building import build, rng_weight
from tests.support import run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

U8, S8 = IntType.parse("uint8"), IntType.parse("int8")

X_PLAN = ValuePlan(
    QuantSpec(U8, symmetric=False), QParams(np.asarray(0.03, np.float32), np.asarray(127))
)


def weight_plan(weight: npt.NDArray[np.float32]) -> ValuePlan:
    scale = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    return ValuePlan(
        QuantSpec(S8, symmetric=True, granularity=PerAxis(0)),
        QParams(scale, np.zeros(scale.shape, np.int32)),
    )


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
    b: npt.NDArray[np.float32] | None,
    group: int = 1,
) -> npt.NDArray[np.float32]:
    """The float convolution with quantized weights."""
    plan = weight_plan(w)
    assert plan.params is not None
    codes = weight_codes(w, plan)
    reals = dequantize(codes, plan.params.scale, plan.params.zero_point, 0)
    declared = "" if b is None else f", float[{b.size}] b"
    source = build(
        f"""f (float[{",".join(map(str, x.shape))}] x, float[{",".join(map(str, w.shape))}] w
            {declared}) => (float[1,C,M,N] y) {{
            y = Conv<group = {group}>(x, w{"" if b is None else ", b"}) }}""",
        w=reals,
        **({} if b is None else {"b": b}),
    )
    return run(source, {"x": x})["y"]


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
    w, y = weight_plan(rng_weight(5, 4, 3, 3)), channel_plan(SCALES, zero_point)
    made = lowered(source, QuantPlan({"x": X_PLAN, "w": w, "y": y}))
    x = np.random.default_rng(1).standard_normal((1, 4, 9, 9)).astype(np.float32)
    real = convolved(faked(x, X_PLAN), rng_weight(5, 4, 3, 3), rng_weight(5) if bias else None)
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
def test_a_depthwise_convolution_reads_a_scale_per_channel(relu: bool) -> None:
    middle = "a = Conv(x, w, b) c = Relu(a)" if relu else "c = Conv(x, w, b)"
    source = build(
        f"""f (float[1,4,9,9] x, float[5,4,3,3] w, float[5] b, float[5,1,3,3] d, float[5] e)
            => (float[1,5,5,5] y) {{
            {middle}
            y = Conv<group = 5>(c, d, e) }}""",
        w=rng_weight(5, 4, 3, 3), b=rng_weight(5), d=rng_weight(5, 1, 3, 3, seed=1),
        e=rng_weight(5, seed=2),
    )  # fmt: skip
    c = channel_plan(SCALES, [0 if relu else 120] * 5)
    y = replace(X_PLAN, params=QParams(np.asarray(0.4, np.float32), np.asarray(128)))
    d = rng_weight(5, 1, 3, 3, seed=1)
    plans = {"x": X_PLAN, "w": weight_plan(rng_weight(5, 4, 3, 3)), "c": c, "d": weight_plan(d)}
    made = lowered(source, QuantPlan({**plans, "y": y}))
    x = np.random.default_rng(1).standard_normal((1, 4, 9, 9)).astype(np.float32)
    real = convolved(faked(x, X_PLAN), rng_weight(5, 4, 3, 3), rng_weight(5))
    inner = faked(np.maximum(real, 0) if relu else real, c)
    wanted = faked(convolved(inner, d, rng_weight(5, seed=2), group=5), y)
    found = run(made, {"x": x})["y"]
    assert np.abs(found - wanted).max() <= 2.001 * 0.4
    assert (np.abs(found - wanted) > 0.2).mean() < 0.05
    assert len(np.unique(wanted)) > 30
    assert_runs_alike(made, [{"x": x}], {"y": 0.4}, layers=2)
    ops = optimized_ops(made)
    assert ops["QLinearConv"] == 2
    assert ops["Conv"] + ops["FusedConv"] + ops["Relu"] == 0


def test_absorbing_scales_leaves_the_weight_codes_alone() -> None:
    source = exit_model(relu=False, bias=True)
    w = weight_plan(rng_weight(5, 4, 3, 3))
    plan = QuantPlan({"x": X_PLAN, "w": w, "y": channel_plan(SCALES, [128] * 5)})
    stored = [
        value.const_value.numpy()
        for value in lowered(source, plan).graph.initializers.values()
        if value.const_value is not None and value.const_value.numpy().dtype == np.int8
    ]
    np.testing.assert_array_equal(stored[0], weight_codes(rng_weight(5, 4, 3, 3), w))


def test_a_channel_of_zeros_does_not_disturb_the_others() -> None:
    source = exit_model(relu=False, bias=True)
    w = weight_plan(rng_weight(5, 4, 3, 3))
    x = np.random.default_rng(1).standard_normal((1, 4, 9, 9)).astype(np.float32)
    found = []
    for dead in (1.0, 0.03):
        y = channel_plan([*SCALES[:4], dead], [128] * 5)
        made = lowered(source, QuantPlan({"x": X_PLAN, "w": w, "y": y}))
        found.append(run(made, {"x": x}, "all")["y"][:, :4])
    moved = np.abs(found[0] - found[1]) / np.asarray(SCALES[:4], np.float32).reshape(-1, 1, 1)
    assert moved.max() <= 1.001
    assert (moved > 0.5).mean() < 0.02
