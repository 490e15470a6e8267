from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.numerics.pairs import kernel_rows, pair_excess
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, PerTensor, QParams, QuantSpec
from onnxq.plan.weight_codes import weight_codes
from tests.passes.plan.planning import build, eager_target, hand_context, revised, stats_of
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.target import Target

X = ValuePlan(
    QuantSpec(IntType.parse("uint8"), symmetric=False),
    QParams(np.asarray(0.02, np.float32), np.asarray(3)),
)


def wish(axis: int | None = 0, dtype: str = "int8") -> ValuePlan:
    granularity = PerTensor() if axis is None else PerAxis(axis)
    return ValuePlan(QuantSpec(IntType.parse(dtype), True, granularity))


def conv(
    w: npt.NDArray[np.float32], b: npt.NDArray[np.float32] | None = None, group: int = 1
) -> ir.Model:
    declared = "" if b is None else f", float[{b.size}] b"
    return build(
        f"""f (float[1,{w.shape[1] * group},8,8] x, float[{",".join(map(str, w.shape))}] w
            {declared}) => (float[1,{w.shape[0]},M,N] y) {{
            y = Conv<group = {group}>(x, w{"" if b is None else ", b"}) }}""",
        w=w, **({} if b is None else {"b": b}),
    )  # fmt: skip


def fitted(
    source: ir.Model, planned: ValuePlan, x: ValuePlan = X, target: Target | None = None
) -> tuple[ValuePlan, QuantPlan]:
    plan = QuantPlan({"x": x, "w": planned})
    result = revised(FitWeights(), hand_context(source, target=target), plan)
    assert result.values["x"] is x
    assert result.values["w"].spec == planned.spec
    return result.values["w"], result


def params_of(plan: ValuePlan) -> QParams:
    assert plan.params is not None
    assert not plan.params.zero_point.any()
    return plan.params


def test_one_scale_per_channel() -> None:
    w = rng_weight(6, 4, 1, 1) * np.arange(1, 7, dtype=np.float32).reshape(-1, 1, 1, 1)
    scale = params_of(fitted(conv(w), wish())[0]).scale
    assert scale.shape == (6,)
    least = np.abs(w).max(axis=(1, 2, 3)) / 127
    assert (scale >= least * (1 - 1e-6)).all()
    assert (scale <= least * 2).all()


def test_one_scale_for_the_whole_weight() -> None:
    w = rng_weight(6, 4, 1, 1)
    scale = params_of(fitted(conv(w), wish(None))[0]).scale
    assert scale.shape == ()
    assert np.abs(w).max() / 127 <= scale * (1 + 1e-6)


@pytest.mark.parametrize(
    ("call", "shape", "axis"),
    [("Gemm(x, w)", (4, 6), 1), ("Gemm<transB = 1>(x, w)", (6, 4), 0), ("MatMul(x, w)", (4, 6), 1)],
)
def test_scales_follow_the_output_channels(call: str, shape: tuple[int, ...], axis: int) -> None:
    w = np.full(shape, 0.5, np.float32)
    w[(slice(None), 2) if axis else 2] = [1.27, 0, 0, 0]
    source = build(
        f"f (float[2,4] x, float[{shape[0]},{shape[1]}] w) => (float[2,6] y) {{ y = {call} }}", w=w
    )
    found, _ = fitted(source, wish(axis), target=eager_target("uint4"))
    scale = params_of(found).scale
    np.testing.assert_allclose(scale, np.where(np.arange(6) == 2, 1.27, 0.5) / 127, rtol=1e-6)


def test_a_channel_of_zeros_has_scale_one() -> None:
    w = rng_weight(6, 4, 1, 1)
    w[2] = 0
    assert params_of(fitted(conv(w), wish())[0]).scale[2] == 1


@pytest.mark.parametrize("shape", [(6, 8, 3, 3), (6, 5, 1, 1), (6, 8, 3), (6, 3, 3, 3)])
@pytest.mark.parametrize("axis", [0, None], ids=["channel", "tensor"])
def test_rule_1_no_pair_of_codes_can_saturate(shape: tuple[int, ...], axis: int | None) -> None:
    w = np.sign(rng_weight(*shape)) * (0.8 + 0.2 * np.abs(np.tanh(rng_weight(*shape, seed=1))))
    dims = ",".join(map(str, shape))
    source = build(
        f"""f (float[1,{shape[1]},{"8," * (len(shape) - 3)}8] x, float[{dims}] w)
            => (float[1,6,{"M," * (len(shape) - 3)}N] y) {{ y = Conv(x, w) }}""",
        w=w.astype(np.float32),
    )
    found, plan = fitted(source, wish(axis))
    codes = weight_codes(w.astype(np.float32), found).astype(np.int32)
    assert codes.shape == shape
    assert not pair_excess(kernel_rows(codes).astype(np.int32), 128).any()
    assert "against 16-bit saturation" in plan.notes[0].text
    assert plan.notes[0].where == "node_y"
    scale = (
        params_of(found).scale.reshape(-1, *[1] * (len(shape) - 1))
        if axis == 0
        else (params_of(found).scale)
    )
    # What was moved stays near: no code is off by more than the excess of its pair.
    assert np.abs(codes * scale - w).max() <= 70 * np.max(scale)
    assert np.sqrt(np.mean((codes * scale - w) ** 2)) < 0.12


@pytest.mark.parametrize(("call", "axis"), [("Gemm(x, w)", 1), ("MatMul(x, w)", 1)])
def test_rule_1_holds_along_the_inner_axis_of_products(call: str, axis: int) -> None:
    w = np.sign(rng_weight(8, 6)) * np.float32(0.9) + 0.1 * np.tanh(rng_weight(8, 6, seed=1))
    source = build(
        f"f (float[2,8] x, float[8,6] w) => (float[2,6] y) {{ y = {call} }}",
        w=w.astype(np.float32),
    )
    found, _ = fitted(source, wish(axis))
    codes = weight_codes(w.astype(np.float32), found).astype(np.int32)
    assert codes.shape == (8, 6)
    assert not pair_excess(codes.T, 128).any()
    assert (np.abs(codes * params_of(found).scale - w) < 0.3).all()


@pytest.mark.parametrize("why", ["depthwise", "narrow-weights", "narrow-activations", "no-bound"])
def test_rule_1_does_not_hold_where_nothing_saturates(why: str) -> None:
    from dataclasses import replace

    w = np.ones((8, 1 if why == "depthwise" else 8, 3, 3), np.float32)
    target = eager_target("uint4" if why == "narrow-activations" else "uint8")
    if why == "no-bound":
        target = replace(target, pair_bound=None)
    dtype = "int4" if why == "narrow-weights" else "int8"
    source = conv(w, group=8 if why == "depthwise" else 1)
    found, plan = fitted(source, wish(0, dtype), target=target)
    assert found.codes is None
    np.testing.assert_allclose(params_of(found).scale, 1 / IntType.parse(dtype).qmax, rtol=1e-6)
    assert not plan.notes


def test_rule_1_weights_within_the_limit_keep_their_scale() -> None:
    w = np.full((6, 8, 1, 1), 0.4, np.float32)
    w[:, 0] = 1.0
    w[:, 1] = -1.0
    found, plan = fitted(conv(w), wish())
    assert found.codes is None
    np.testing.assert_allclose(params_of(found).scale, 1 / 127, rtol=1e-6)
    assert not plan.notes


@pytest.mark.parametrize("axis", [0, None], ids=["channel", "tensor"])
def test_rule_2_a_large_bias_raises_the_scale_until_it_fits(axis: int | None) -> None:
    w = np.full((3, 2, 1, 1), 1e-7, np.float32)
    bias = np.array([0.0, 50.0, -500.0], np.float32)
    found, plan = fitted(conv(w, bias), wish(axis))
    scale = params_of(found).scale
    codes = bias.astype(np.float64) / (0.02 * scale)
    assert (np.abs(codes) <= 2.0**30 * (1 + 1e-6)).all()
    assert np.abs(codes).max() > 2.0**29
    if axis == 0:
        assert scale[0] < 1e-8
    assert "scale raised for the int32 bias" in plan.notes[0].text


def test_a_shared_weight_suits_all_its_readers() -> None:
    source = build(
        """f (float[1,2,4,4] x, float[2,2,1,1] w, float[2] b, float[2] k)
            => (float[1,2,4,4] y) {
            c = Conv(x, w, b)
            y = Conv(c, w, k) }""",
        w=np.full((2, 2, 1, 1), 1e-7, np.float32), b=np.zeros(2), k=np.array([0.0, 500.0]),
    )  # fmt: skip
    plan = QuantPlan({"x": X, "c": X, "w": wish()})
    result = revised(FitWeights(), hand_context(source), plan)
    scale = params_of(result.values["w"]).scale
    assert 500 / (0.02 * scale[1]) <= 2.0**30 * (1 + 1e-6)


def test_the_input_scale_is_that_of_the_use() -> None:
    w, bias = np.full((1, 2, 1, 1), 1e-7, np.float32), np.array([500.0], np.float32)
    coarse = ValuePlan(X.spec, QParams(np.asarray(200.0, np.float32), np.asarray(0)))
    plan = QuantPlan({"x": X, "w": wish()}, {Use("node_y", 0): coarse})
    result = revised(FitWeights(), hand_context(conv(w, bias)), plan)
    alone = fitted(conv(w, bias), wish())[0]
    assert params_of(result.values["w"]).scale < params_of(alone).scale / 100


@pytest.mark.parametrize("missing", ["x", "w", "params"])
def test_what_is_not_planned_is_left_alone(missing: str) -> None:
    values = {"x": X, "w": wish()}
    if missing == "params":
        values["x"] = ValuePlan(X.spec)
    else:
        del values[missing]
    result = revised(FitWeights(), hand_context(conv(rng_weight(6, 4, 1, 1))), QuantPlan(values))
    assert "w" not in result.values or result.values["w"].params is None


def noise(w: npt.NDArray[np.float32], found: ValuePlan, power: npt.NDArray[np.float32]) -> float:
    """Output error of a 1 × 1 convolution whose inputs are not correlated."""
    codes, scale = weight_codes(w, found), params_of(found).scale.reshape(-1, 1, 1, 1)
    return float((np.square(codes * scale - w) * power.reshape(1, -1, 1, 1)).sum())


@pytest.mark.parametrize("dtype", ["int2", "int3", "int4"])
def test_scales_of_few_bits_are_searched_by_what_the_inputs_weigh(dtype: str) -> None:
    w = rng_weight(6, 16, 1, 1)
    w[:, :3] *= 6
    power = np.where(np.arange(16) < 3, 0.01, 1.0).astype(np.float32)
    x = rng_weight(4, 16, 8, 8, seed=1) * np.sqrt(power).reshape(1, -1, 1, 1)
    source, plan = conv(w), QuantPlan({"x": X, "w": wish(dtype=dtype)})
    blind = revised(FitWeights(), hand_context(source), plan).values["w"]
    seeing = hand_context(source, {"x": stats_of(x, axis=1)})
    found = revised(FitWeights(), seeing, plan).values["w"]
    assert params_of(found).method == "mse"
    assert noise(w, found, power) < 0.9 * noise(w, blind, power)


def test_few_bits_leave_no_pair_to_limit() -> None:
    found, _ = fitted(conv(rng_weight(6, 8, 3, 3)), wish(dtype="int4"))
    assert found.codes is None


def test_a_codebook_is_given_up_with_its_scales() -> None:
    w = rng_weight(4, 3, 3, 3)
    levels = np.array([-64, 0, 64], np.int32)
    coded = replace(wish(), codes=np.zeros(w.shape, np.int32), levels=levels)
    found, _ = fitted(conv(w), coded)
    assert found.levels is None
    assert np.unique(weight_codes(w, found)).size > levels.size
