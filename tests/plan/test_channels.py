from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.plan.channels import common_params, has_channels, read_factors, writing_of
from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, PerTensor, QParams, QuantSpec
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

SCALES = np.array([0.1, 0.03, 0.7, 0.011], np.float32)
ZEROS = np.array([3, 200, 17, 120], np.int32)


def channels(scale: npt.ArrayLike = SCALES, zero: npt.ArrayLike = ZEROS) -> ValuePlan:
    spec = QuantSpec(IntType.parse("uint8"), symmetric=False, granularity=PerAxis(1))
    return ValuePlan(spec, QParams(np.asarray(scale), np.asarray(zero)))


def single() -> ValuePlan:
    spec = QuantSpec(IntType.parse("uint8"), symmetric=False, granularity=PerTensor())
    return ValuePlan(spec, QParams(np.asarray(0.1, np.float32), np.asarray(3)))


def network(tail: str = "y = Conv(c, v)", out: str = "y") -> ir.Model:
    return build(
        f"""f (float[1,2,4,4] x, float[4,2,1,1] w, float[3,4,1,1] v, float[4,1,3,3] d)
            => (float[1,A,B,C] {out}) {{
            c = Conv(x, w)
            {tail} }}""",
        w=rng_weight(4, 2, 1, 1),
        v=rng_weight(3, 4, 1, 1),
        d=rng_weight(4, 1, 3, 3),
    )


def codes(
    y: npt.NDArray[np.float32], scale: npt.ArrayLike, zero: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    rounded = np.rint(y.astype(np.float64) / np.asarray(scale, np.float64))
    return np.asarray(np.clip(rounded + np.asarray(zero), 0, 255), np.float64)


# ---- the one scale -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scales", "wanted"),
    [([0.25], 0.25), ([0.1, 0.1], 0.125), ([0.5, 0.125], 0.25), ([3.0, 3.0], 4.0)],
)
def test_the_common_scale_is_the_nearest_power_of_two(scales: list[float], wanted: float) -> None:
    found = common_params(QParams(np.array(scales, np.float32), np.zeros(len(scales), np.int32)))
    assert found.scale.shape == found.zero_point.shape == ()
    assert float(found.scale) == wanted


def test_the_common_zero_point_is_the_median() -> None:
    assert int(common_params(channels([1, 1, 1], [3, 250, 17]).params).zero_point) == 17  # type: ignore[arg-type]


@pytest.mark.parametrize(("plan", "has"), [(None, False), (single(), False), (channels(), True)])
def test_channels_are_told_by_the_granularity(plan: ValuePlan | None, has: bool) -> None:
    assert has_channels(plan) is has


# ---- writing -------------------------------------------------------------------------------------


def test_what_is_written_with_one_scale_are_the_channels_own_codes() -> None:
    source = network()
    writing = writing_of(source.graph[0], QuantPlan({"c": channels()}))
    assert writing is not None
    common = common_params(channels().params)  # type: ignore[arg-type]
    y = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    written = codes(y * writing.factor + writing.offset, common.scale, common.zero_point)
    wanted = codes(y, SCALES, ZEROS)
    near = np.abs(np.modf(y / SCALES.astype(np.float64))[0] % 1 - 0.5) < 1e-4
    np.testing.assert_array_equal(written[~near], wanted[~near])
    assert np.abs(written - wanted).max() <= 1


def test_powers_of_two_are_exact() -> None:
    scales, zeros = np.array([0.25, 0.5, 0.125, 1.0], np.float32), np.array([0, 9, 255, 3])
    plan = channels(scales, zeros)
    source = network()
    writing = writing_of(source.graph[0], QuantPlan({"c": plan}))
    factors = read_factors(source.graph[1], plan)
    assert writing is not None
    assert factors is not None
    np.testing.assert_array_equal(np.log2(writing.factor) % 1, 0)
    np.testing.assert_array_equal(writing.factor * factors.reshape(-1), np.ones(4))
    common = common_params(plan.params)  # type: ignore[arg-type]
    y = np.random.default_rng(0).normal(scale=40, size=(1000, 4)).astype(np.float32)
    written = codes(y * writing.factor + writing.offset, common.scale, common.zero_point)
    np.testing.assert_array_equal(written, codes(y, scales, zeros))


@pytest.mark.parametrize(
    ("tail", "named", "writes"),
    [
        ("y = Conv(c, v)", "c", True),
        ("r = Relu(c)\n y = Conv(r, v)", "r", True),
        ("r = Relu(c)\n y = Conv(r, v)", "c", True),
        ("r = Sigmoid(c)\n y = Conv(r, v)", "r", False),
        ("r = Relu(c)\n s = Relu(c)\n y = Add(r, s)", "r", False),
    ],
    ids=["own", "behind_relu", "in_front_of_relu", "behind_sigmoid", "two_relus"],
)
def test_a_convolution_writes_its_own_value_or_the_relus(
    tail: str, named: str, writes: bool
) -> None:
    source = network(tail)
    found = writing_of(source.graph[0], QuantPlan({named: channels(zero=[0, 0, 0, 0])}))
    assert (found is not None) is writes


@pytest.mark.parametrize(
    "plan",
    [
        QuantPlan(),
        QuantPlan({"c": single()}),
        QuantPlan({"c": ValuePlan(channels().spec)}),
    ],
    ids=["float", "one_scale", "no_params"],
)
def test_other_plans_write_nothing_special(plan: QuantPlan) -> None:
    assert writing_of(network().graph[0], plan) is None


def test_other_operators_write_nothing_special() -> None:
    source = network("y = Sigmoid(c)")
    assert writing_of(source.graph[1], QuantPlan({"y": channels()})) is None


# ---- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "shape"),
    [("y = Conv(c, v)", (1, 4, 1, 1)), ("y = Conv<group=4>(c, d)", (4, 1, 1, 1))],
    ids=["dense", "depthwise"],
)
def test_what_is_read_with_one_scale_and_scaled_weights_is_the_same(
    line: str, shape: tuple[int, ...]
) -> None:
    node = network(line).graph[1]
    factors = read_factors(node, channels())
    assert factors is not None
    assert factors.shape == shape
    weight = node.inputs[1].const_value.numpy().astype(np.float64)  # type: ignore[union-attr]
    common = float(common_params(channels().params).scale)  # type: ignore[arg-type]
    # one output of a 3x3 or 1x1 layer, at one place, as a sum over channels and taps
    q = np.random.default_rng(0).integers(0, 256, (4, *weight.shape[2:])) - ZEROS[:, None, None]
    own, one = q * SCALES.astype(np.float64)[:, None, None], q * common
    folded = weight * factors
    if shape[0] == 1:
        wanted, found = (weight * own).sum(axis=(1, 2, 3)), (folded * one).sum(axis=(1, 2, 3))
    else:
        wanted, found = (weight[:, 0] * own).sum((1, 2)), (folded[:, 0] * one).sum((1, 2))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    "plan", [None, single(), ValuePlan(channels().spec)], ids=["float", "one_scale", "no_params"]
)
def test_other_inputs_leave_weights_alone(plan: ValuePlan | None) -> None:
    assert read_factors(network().graph[1], plan) is None


def test_only_convolutions_take_scales_over() -> None:
    assert read_factors(network("y = Sigmoid(c)").graph[1], channels()) is None
