"""Each numbered rule of the module, on statistics made by hand; no session runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.affine import affine_params, quantize
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, QParams, QuantSpec
from tests.numerics.rounding import fake_quantize
from tests.passes.plan.planning import build, hand_context, revised, stats_of
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.statistics import ValueStats

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(20_000).astype(np.float32)


def wish(dtype: str = "uint8", axis: int | None = None) -> ValuePlan:
    spec = QuantSpec(IntType.parse(dtype), symmetric=False)
    if axis is not None:
        spec = QuantSpec(IntType.parse(dtype), symmetric=False, granularity=PerAxis(axis))
    return ValuePlan(spec)


def chain(nodes: str, last: str = "y") -> ir.Model:
    return build(f"f (float[1,4,2,2] x) => (float[1,4,2,2] {last}) {{ {nodes} }}")


def fitted(
    source: ir.Model,
    stats: dict[str, ValueStats],
    wishes: dict[str, ValuePlan] | None = None,
    groups: tuple[frozenset[str], ...] = (),
    pass_: FitActivations | None = None,
) -> dict[str, QParams]:
    plan = QuantPlan(wishes or dict.fromkeys(stats, wish()), groups=groups)
    result = revised(pass_ or FitActivations("minmax"), hand_context(source, stats), plan)
    assert {n: v.spec for n, v in result.values.items()} == {
        n: v.spec for n, v in plan.values.items()
    }
    assert (result.groups, result.uses, result.bias_shift) == (groups, {}, {})
    assert all(value.params is not None for value in result.values.values())
    return {name: value.params for name, value in result.values.items() if value.params}


def ends(params: QParams, limits: tuple[int, int] = (0, 255)) -> tuple[float, float]:
    low, high = ((limit - params.zero_point) * params.scale for limit in limits)
    return float(low), float(high)


def test_minmax_covers_the_data() -> None:
    params = fitted(chain("y = Neg(x)"), {"x": stats_of([-1.0, 3.0])})["x"]
    scale, zero_point = affine_params(-1.0, 3.0, (0, 255))
    assert (params.scale, params.zero_point) == (scale, zero_point)
    assert (params.method, params.p) == ("minmax", None)


@pytest.mark.parametrize("p", [2.0, 4.0])
def test_lp_is_no_worse_than_minmax_under_its_own_measure(p: float) -> None:
    x = np.append(NORMAL, np.float32(60))
    source, stats = chain("y = Neg(x)"), {"x": stats_of(x)}
    by_range = fitted(source, stats)["x"]
    by_error = fitted(source, stats, pass_=FitActivations(f"lp:{p}"))["x"]
    errors = [
        np.mean(np.abs(fake_quantize(x, q.scale, q.zero_point, (0, 255)) - x) ** p)
        for q in (by_range, by_error)
    ]
    assert errors[1] <= errors[0] * 1.001
    assert (by_error.method, by_error.p) == ("lp", p)
    assert by_error.error == pytest.approx(errors[1] ** (1 / p), rel=0.1)


def test_percentile_leaves_outliers_out() -> None:
    x = np.append(NORMAL, np.float32(60))
    params = fitted(
        chain("y = Neg(x)"), {"x": stats_of(x)}, pass_=FitActivations("percentile:99.9")
    )["x"]
    low, high = ends(params)
    assert 2.5 < high < 5
    assert -5 < low < -2.5


def test_other_types_have_other_codes() -> None:
    stats = {"x": stats_of([-1.0, 3.0])}
    for dtype, limits in (("int8", (-128, 127)), ("uint4", (0, 15)), ("int16", (-32768, 32767))):
        params = fitted(chain("y = Neg(x)"), stats, {"x": wish(dtype)})["x"]
        low, high = ends(params, limits)
        assert low == pytest.approx(-1.0, abs=float(params.scale))
        assert high == pytest.approx(3.0, abs=float(params.scale))


def test_weights_and_absent_values_are_left_alone() -> None:
    source = chain("y = Neg(x)")
    plan = QuantPlan({"w": wish("int8")})
    result = revised(FitActivations(), hand_context(source, {}), plan)
    assert result.values["w"].params is None


def test_rule_1_groups_share_params_that_cover_all_members() -> None:
    source = chain("a = Neg(x) y = Neg(a)")
    stats = {"x": stats_of([-1.0, 1.0]), "a": stats_of([-0.5, 9.0]), "y": stats_of([-3.0, 3.0])}
    found = fitted(source, stats, groups=(frozenset({"x", "a"}),))
    assert found["x"] is found["a"]
    assert ends(found["x"])[0] == pytest.approx(-1, abs=0.04)
    assert ends(found["x"])[1] == pytest.approx(9, abs=0.04)
    assert ends(found["y"])[1] == pytest.approx(3, abs=0.04)


def test_rule_1_members_that_are_not_planned_do_not_count() -> None:
    source = chain("a = Neg(x) y = Neg(a)")
    stats = {"x": stats_of([-1.0, 1.0]), "a": stats_of([-0.5, 9.0])}
    found = fitted(source, stats, {"x": wish()}, groups=(frozenset({"x", "a"}),))
    assert ends(found["x"])[1] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("nodes", "cut"),
    [
        ("y = Sigmoid(x)", True),
        ("g = Sigmoid(x) y = Mul(x, g)", True),
        ("y = HardSwish(x)", True),
        ("y = LeakyRelu<alpha = 0.001>(x)", True),
        ("y = Neg(x)", False),
        ("g = Sigmoid(x) a = Neg(x) y = Mul(a, g)", False),
        ("g = Sigmoid(x) a = Abs(g) b = Add(a, g) y = Mul(x, b)", False),
    ],
    ids=["sigmoid", "silu", "hard-swish", "leaky", "neg", "sigmoid-and-neg", "no-silu"],
)
def test_rule_2_a_far_negative_tail_is_worth_nothing_behind_its_function(
    nodes: str, cut: bool
) -> None:
    tail = np.linspace(-40, -30, 2000)
    x = np.concatenate([NORMAL * 1.5, tail]).astype(np.float32)
    params = fitted(chain(nodes), {"x": stats_of(x)}, pass_=FitActivations("mse"))["x"]
    assert (ends(params)[0] > -25) == cut


def test_rule_2_a_graph_output_is_seen_as_it_is() -> None:
    source = chain("a = Neg(x) y = Sigmoid(a)")
    source.graph.outputs.append(source.graph.node("node_a").outputs[0])
    x = np.concatenate([NORMAL, np.linspace(-40, -30, 2000)]).astype(np.float32)
    params = fitted(source, {"a": stats_of(x)}, pass_=FitActivations("mse"))["a"]
    assert ends(params)[0] < -25


@pytest.mark.parametrize("dtype", ["uint8", "uint4", "int8", "uint16"])
def test_rule_3_the_output_of_sigmoid_covers_zero_to_one(dtype: str) -> None:
    source = chain("y = Sigmoid(x)")
    params = fitted(source, {"y": stats_of([0.3, 0.6])}, {"y": wish(dtype)})["y"]
    kind = IntType.parse(dtype)
    low, high = ends(params, (kind.qmin, kind.qmax))
    assert low == 0.0
    assert high == pytest.approx(1, rel=1e-6)
    assert params.method == "fixed"


@pytest.mark.parametrize(
    ("call", "bounds"),
    [
        ("Relu(a)", (0.0, np.inf)),
        ("Clip(a, zero, six)", (0.0, 6.0)),
        ("Clip(a, , six)", (-np.inf, 6.0)),
        ("Clip(a, minus, six)", (-1.0, 6.0)),
        ("Clip(a, minus, one)", (-1.0, 1.0)),
    ],
    ids=["relu", "relu6", "upper", "both", "symmetric"],
)
@pytest.mark.parametrize("method", ["minmax", "kl", "lp:1.5", "mse", "percentile"])
def test_rule_4_quantization_saturates_as_the_operator_would(
    call: str, bounds: tuple[float, float], method: str
) -> None:
    source = build(
        f"""f (float[1,4,2,2] x, float zero, float minus, float one, float six)
            => (float[1,4,2,2] y) {{
            a = Neg(x)
            y = {call} }}""",
        zero=0.0, minus=-1.0, one=1.0, six=6.0,
    )  # fmt: skip
    # Statistics beyond the bounds, as those of a group may be.
    found = fitted(source, {"y": stats_of(NORMAL * 8)}, pass_=FitActivations(method))["y"]
    low, high = quantize(
        np.asarray(bounds, np.float32), found.scale, found.zero_point, (-(2**20), 2**20)
    )
    assert low <= 0
    assert high >= 255
    if bounds == (0.0, 6.0):
        assert found.zero_point == 0
        assert found.scale <= 6 / 254.5


def test_rule_4_a_group_keeps_the_bounds_of_its_member() -> None:
    source = build(
        """f (float[1,4,2,2] x, float zero, float six) => (float[1,4,1,1] y) {
            a = Neg(x)
            b = Clip(a, zero, six)
            y = MaxPool<kernel_shape = [2,2]>(b) }""",
        zero=0.0, six=6.0,
    )  # fmt: skip
    stats = {"b": stats_of(np.linspace(0, 6, 99)), "y": stats_of(np.linspace(0, 6.1, 99))}
    found = fitted(source, stats, groups=(frozenset({"b", "y"}),))
    assert found["b"].scale <= 6 / 254.5
    assert found["b"].zero_point == 0


@pytest.mark.parametrize("low", [-20.0, -6.0, -3.1])
@pytest.mark.parametrize("high", [3.5, 9.0, 40.0])
def test_rule_5_hard_swish_reads_a_scale_that_divides_its_knee(low: float, high: float) -> None:
    found = fitted(chain("y = HardSwish(x)"), {"x": stats_of(np.linspace(low, high, 999))})["x"]
    steps = 3 / float(found.scale)
    assert steps == pytest.approx(round(steps), rel=1e-6)
    assert round(steps) <= found.zero_point <= 255 - round(steps)


@settings(deadline=None)
@given(st.floats(-20, 0), st.floats(0.5, 40))
def test_rule_5_does_not_cut_what_minmax_covers(low: float, high: float) -> None:
    x = np.linspace(low, high, 99)
    found = fitted(chain("y = HardSwish(x)"), {"x": stats_of(x)})["x"]
    least, greatest = ends(found)
    step = float(found.scale)
    assert greatest >= high - step
    assert least <= max(low, -3.0) + step


def test_rule_5_a_range_too_wide_stays() -> None:
    x = np.linspace(-500, 900, 99)
    found = fitted(chain("y = HardSwish(x)"), {"x": stats_of(x)})["x"]
    assert found.scale == pytest.approx(1400 / 255)


def _channels(low: npt.ArrayLike, high: npt.ArrayLike) -> ValueStats:
    x = np.stack([np.asarray(low), np.asarray(high)], axis=1)
    return stats_of(x[None, :, :, None], axis=1)


def test_rule_6_each_channel_covers_its_own_range() -> None:
    low, high = np.array([-1.0, 0.0, -5.0, -0.2]), np.array([1.0, 4.0, 0.0, 3.0])
    found = fitted(chain("y = Tanh(x)"), {"x": _channels(low, high)}, {"x": wish(axis=1)})["x"]
    for channel in range(4):
        one = QParams(found.scale[channel], found.zero_point[channel])
        assert ends(one)[0] == pytest.approx(low[channel], abs=float(one.scale))
        assert ends(one)[1] == pytest.approx(high[channel], abs=float(one.scale))
    scale, zero_point = affine_params(low, high, (0, 255))
    np.testing.assert_array_equal(found.scale, scale)
    np.testing.assert_array_equal(found.zero_point, zero_point)


def test_rule_6_float_readers_leave_room_for_what_one_channel_did_not_show() -> None:
    x = RNG.normal(0, 0.5, (1, 20, 40, 40)).astype(np.float32)
    x[0, :19, 0, 0] = 9.0
    source = build("f (float[1,20,40,40] x) => (float[1,20,40,40] y) { y = Tanh(x) }")
    found = fitted(source, {"x": stats_of(x, axis=1)}, {"x": wish(axis=1)})["x"]
    last = QParams(found.scale[19], found.zero_point[19])
    assert x[0, 19].max() < 3
    assert ends(last)[1] > 8


@pytest.mark.parametrize(
    ("nodes", "cut"),
    [
        ("y = Sigmoid(x)", True),
        ("a = Transpose<perm = [0,2,3,1]>(x) y = Sigmoid(a)", True),
        ("y = Tanh(x)", False),
        ("a = Transpose<perm = [0,2,3,1]>(x) b = Sigmoid(a) y = Mul(a, b)", False),
    ],
    ids=["sigmoid", "moved", "tanh", "silu"],
)
def test_rule_6_logits_go_no_further_than_a_sigmoid_tells_apart(nodes: str, cut: bool) -> None:
    stats = {"x": _channels(np.full(4, -40.0), [30.0, 2.0, 1.0, 4.0])}
    source = build(f"f (float[1,4,2,2] x) => (float[A,B,C,D] y) {{ {nodes} }}")
    found = fitted(source, stats, {"x": wish(axis=1)})["x"]
    first = ends(QParams(found.scale[0], found.zero_point[0]))
    assert first == pytest.approx((-9, 9) if cut else (-40, 30), abs=0.3)


def _reader(shape: tuple[int, ...], group: int) -> ir.Model:
    return build(
        f"""f (float[1,4,2,2] x, float[{",".join(map(str, shape))}] w) => (float[1,C,2,2] y) {{
            y = Conv<group = {group}>(x, w) }}""",
        w=rng_weight(*shape),
    )


READERS = pytest.mark.parametrize(
    "source", [_reader((4, 1, 1, 1), 4), _reader((5, 4, 1, 1), 1)], ids=["depthwise", "dense"]
)


@READERS
def test_rule_6_convolutions_see_one_zero_point(source: ir.Model) -> None:
    low, high = np.array([-1.0, -0.1, -5.0, -0.2]), np.array([1.0, 4.0, 2.0, 3.0])
    stats = {"x": _channels(low, high)}
    found = fitted(source, stats, {"x": wish(axis=1)})["x"]
    single = fitted(source, stats)["x"]
    assert found.zero_point.tolist() == [int(single.zero_point)] * 4
    assert (found.scale <= single.scale * 1.01).all()
    # No channel is cut off that the single scale covers.
    zero = int(single.zero_point)
    assert (-zero * found.scale <= low + 0.51 * single.scale).all()
    assert ((255 - zero) * found.scale >= high - 0.51 * single.scale).all()


@READERS
def test_rule_6_channels_alike_have_the_best_single_scale(source: ir.Model) -> None:
    stats = {"x": _channels(np.full(4, -1.0), np.full(4, 2.0))}
    found = fitted(source, stats, {"x": wish(axis=1)})["x"]
    np.testing.assert_allclose(found.scale, fitted(source, stats)["x"].scale, rtol=0.01)


def test_rule_6_few_bits_leave_the_far_end_of_a_channel_out() -> None:
    source = _reader((4, 1, 1, 1), 4)
    stats = {"x": _channels(np.zeros(4), [1, 2, 4, 8])}
    many, few = (
        fitted(source, stats, {"x": wish(dtype, axis=1)})["x"] for dtype in ("uint8", "uint4")
    )
    np.testing.assert_allclose(many.scale * 255, [1, 2, 4, 8], rtol=0.01)
    np.testing.assert_allclose(few.scale * 15, [0.8, 1.6, 3.2, 6.4], rtol=0.01)


@READERS
def test_rule_6_behind_relu_the_common_zero_point_is_the_least_code(source: ir.Model) -> None:
    stats = {"x": _channels(np.zeros(4), [1, 2, 3, 0.001])}
    found = fitted(source, stats, {"x": wish(axis=1)})["x"]
    assert found.zero_point.tolist() == [0] * 4
    assert found.scale[2] == pytest.approx(3 / 255, rel=1e-6)
    assert found.scale[0] < 3 / 255


@pytest.mark.parametrize(
    "source",
    [chain("y = Tanh(x)"), _reader((4, 1, 1, 1), 4), _reader((5, 4, 1, 1), 1)],
    ids=["float", "depthwise", "dense"],
)
def test_rule_6_a_channel_of_zeros_has_a_scale(source: ir.Model) -> None:
    stats = {"x": _channels([-1.0, 0.0, 0.0, -1.0], [1.0, 0.0, 2.0, 0.0])}
    found = fitted(source, stats, {"x": wish(axis=1)})["x"]
    assert found.scale[1] > 0
