from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.plan.cost import CostTable, KernelCost
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import PerAxis, PerTensor
from onnxq.plan.target import Target, load_target
from tests.passes.plan.planning import eager_target, hand_context, revised
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

PER_CHANNEL, PER_TENSOR = PerAxis(1), PerTensor()


def convs(middle: str, **weights: np.ndarray) -> ir.Model:
    """x → Conv → c → ``middle`` → r → Conv → y."""
    values = "".join(f", float[{','.join(map(str, w.shape))}] {k}" for k, w in weights.items())
    return build(
        f"""f (float[1,4,8,8] x, float[6,4,1,1] w, float[3,6,1,1] v{values})
            => (float[1,3,M,N] y) {{
            c = Conv(x, w)
            {middle}
            y = Conv(r, v) }}""",
        w=rng_weight(6, 4, 1, 1),
        v=rng_weight(3, 6, 1, 1),
        **weights,
    )


def plan_of(source: ir.Model, target: Target | None = None, **options: object) -> QuantPlan:
    assign = AssignIntegers(**options)  # type: ignore[arg-type]
    return revised(assign, hand_context(source, target=target), QuantPlan())


def granularities(plan: QuantPlan) -> dict[str, object]:
    return {name: value.spec.granularity for name, value in plan.values.items()}


def test_an_integer_region_has_specs_and_no_params() -> None:
    plan = plan_of(convs("r = Sigmoid(c)"))
    assert set(plan.values) == {"x", "w", "c", "r", "v", "y"}
    for name, value in plan.values.items():
        assert value.params is None
        assert str(value.spec.dtype) == ("int8" if name in "wv" else "uint8")
        assert value.spec.symmetric == (name in "wv")
    assert not plan.float_nodes


def test_values_in_front_of_absorbed_operators_are_no_codes() -> None:
    assert "c" not in plan_of(convs("r = Relu(c)")).values
    assert "c" in plan_of(convs("a = Relu(c) r = Add(a, c)")).values


def test_the_output_tail_stays_float() -> None:
    tail = build(
        """f (float[1,4,8,8] x, float[6,4,1,1] w) => (float[1,6,M,N] z) {
            c = Conv(x, w)
            s = Sigmoid(c)
            p = MaxPool<kernel_shape = [2,2]>(s)
            z = Mul(p, p) }""",
        w=rng_weight(6, 4, 1, 1),
    )
    plan = plan_of(tail)
    reason = "output tail: nothing heavy behind it"
    assert plan.float_nodes == dict.fromkeys(("node_s", "node_p", "node_z"), reason)
    assert set(plan.values) == {"x", "w", "c"}


def test_an_absorbed_operator_in_the_tail_runs_on_codes() -> None:
    source = build(
        """f (float[1,4,8,8] x, float[6,4,1,1] w) => (float[1,6,8,8] y) {
            c = Conv(x, w)
            y = Relu(c) }""",
        w=rng_weight(6, 4, 1, 1),
    )
    plan = plan_of(source)
    assert set(plan.values) == {"x", "w", "y"}
    assert not plan.float_nodes


@pytest.mark.parametrize("pattern", ["node_r", "*_r", "node_[r]", "n?de_r"])
def test_keep_float_takes_patterns(pattern: str) -> None:
    plan = plan_of(convs("r = Sigmoid(c)"), keep_float=("nothing", pattern))
    assert plan.float_nodes["node_r"] == "asked for by --keep-float"
    assert {"c", "r", "y"} <= set(plan.values)


def test_keep_float_is_case_sensitive_and_whole() -> None:
    plan = plan_of(convs("r = Sigmoid(c)"), keep_float=("NODE_R", "node", "r"))
    assert not plan.float_nodes


def test_keeping_everything_float_plans_nothing() -> None:
    plan = plan_of(convs("r = Relu(c)"), keep_float=("*",))
    assert not plan.values
    assert set(plan.float_nodes) == {"node_c", "node_r", "node_y"}


def test_forced_nodes_stay_float_with_the_given_reason() -> None:
    plan = plan_of(convs("r = Sigmoid(c)"), forced_float={"node_y": "no room"})
    assert plan.float_nodes["node_y"] == "no room"
    assert "v" not in plan.values


def test_keeping_the_producer_keeps_what_it_would_absorb() -> None:
    plan = plan_of(convs("r = Relu(c)"), keep_float=("node_c",))
    assert set(plan.float_nodes) == {"node_c", "node_r"}
    assert set(plan.values) == {"r", "v", "y"}


def test_every_float_node_has_a_note() -> None:
    plan = plan_of(convs("r = Tanh(c)"), keep_float=("node_y",))
    notes = {note.where: note.text for note in plan.notes if note.kind is NoteKind.REFUSED}
    assert notes == plan.float_nodes
    assert set(notes) == {"node_r", "node_y"} | set(plan.float_nodes)


def test_moving_operators_share_params_along_the_whole_chain() -> None:
    source = convs(
        """a = Transpose<perm = [0,1,3,2]>(c)
           b = DepthToSpace<blocksize = 1>(a)
           r = Transpose<perm = [0,1,3,2]>(b)"""
    )
    plan = plan_of(source)
    assert plan.groups == (frozenset({"c", "a", "b", "r"}),)
    assert granularities(plan)["c"] == PER_TENSOR


def test_groups_of_parts_stay_apart() -> None:
    source = convs(
        """a, b = Split<axis = 2, num_outputs = 2>(c)
           d = Sigmoid(a)
           e = Transpose<perm = [0,1,2,3]>(d)
           r = Add(e, b)"""
    )
    groups = set(plan_of(source).groups)
    assert groups == {frozenset({"c", "a", "b"}), frozenset({"d", "e"})}


@pytest.mark.parametrize(
    ("middle", "value", "wanted"),
    [
        ("r = Tanh(c)", "c", PER_CHANNEL),
        ("a = Relu(c) r = Tanh(a)", "a", PER_CHANNEL),
        ("r = Sigmoid(c)", "c", PER_TENSOR),
        ("a = Tanh(c) b = Sigmoid(c) r = Add(a, b)", "c", PER_TENSOR),
        ("a = Sigmoid(c) r = Tanh(a)", "a", PER_TENSOR),
        ("r = Conv<group = 6>(c, d)", "c", PER_CHANNEL),
        ("a = Relu(c) r = Conv<group = 6>(a, d)", "a", PER_CHANNEL),
        ("a = Conv<group = 6>(c, d) b = Conv<group = 6>(c, g) r = Add(a, b)", "c", PER_CHANNEL),
        ("a = Conv<group = 6>(c, d) b = Conv<group = 6>(c, d) r = Add(a, b)", "c", PER_TENSOR),
        ("a = Conv<group = 6>(c, d) r = Add(a, c)", "c", PER_TENSOR),
        ("r = Conv<group = 3>(c, e)", "c", PER_TENSOR),
        ("r = Relu(c)", "r", PER_CHANNEL),
        ("r = Relu(c)", "y", PER_CHANNEL),
    ],
    ids=[
        "float-reader", "relu-float-reader", "integer-reader", "both", "no-conv", "depthwise",
        "relu-depthwise", "two-depthwise", "shared-weight", "depthwise-and-add", "grouped", "dense",
        "output",
    ],
)  # fmt: skip
def test_where_a_scale_per_channel_is_free(middle: str, value: str, wanted: object) -> None:
    own = rng_weight(6, 1, 1, 1)
    source = convs(middle, d=own, g=own, e=rng_weight(6, 2, 1, 1))
    target = eager_target()
    assert granularities(plan_of(source, target))[value] == wanted
    assert granularities(plan_of(source, target, per_channel=False))[value] == PER_TENSOR


def test_a_depthwise_convolution_that_multiplies_channels_reads_one_scale() -> None:
    source = build(
        """f (float[1,4,8,8] x, float[6,4,1,1] w, float[12,1,1,1] d) => (float[1,12,M,N] y) {
            c = Conv(x, w)
            y = Conv<group = 6>(c, d) }""",
        w=rng_weight(6, 4, 1, 1), d=rng_weight(12, 1, 1, 1),
    )  # fmt: skip
    assert granularities(plan_of(source))["c"] == PER_TENSOR


@pytest.mark.parametrize(
    ("call", "shape", "axis"),
    [("Gemm(x, w)", "4,6", 1), ("Gemm<transB = 1>(x, w)", "6,4", 0), ("MatMul(x, w)", "4,6", 1)],
)
def test_weights_have_a_scale_per_output_channel(call: str, shape: str, axis: int) -> None:
    source = build(
        f"f (float[2,4] x, float[{shape}] w) => (float[2,6] y) {{ y = {call} }}",
        w=rng_weight(*(int(n) for n in shape.split(","))),
    )
    assert granularities(plan_of(source)) == {"x": PER_TENSOR, "w": PerAxis(axis)}
    assert granularities(plan_of(source, per_channel=False))["w"] == PER_TENSOR


def test_a_gemm_that_only_floats_read_has_no_output_codes() -> None:
    source = build(
        """f (float[2,4] x, float[4,4] w) => (float[2,4] z) {
            a = Gemm(x, w)
            b = Gemm(a, w)
            z = Tanh(b) }""",
        w=rng_weight(4, 4),
    )
    assert set(plan_of(source).values) == {"x", "w", "a"}


def _target(dense: float, real: float, conversion: float) -> Target:
    costs = CostTable(
        {"stem": KernelCost(call_us=dense), "dense": KernelCost(call_us=dense)},
        {"stem": KernelCost(call_us=real), "dense": KernelCost(call_us=real)},
        KernelCost(call_us=conversion),
        KernelCost(call_us=conversion),
    )
    return replace(load_target("cpu"), costs=costs)


def test_what_does_not_pay_stays_float_with_the_times() -> None:
    source = convs("r = Relu(c)")
    slower = plan_of(source, _target(9.0, 4.0, 0.0))
    assert slower.float_nodes["node_c"] == "slower on integers: 9.0 µs instead of 4.0 µs"
    costly = plan_of(source, _target(4.0, 9.0, 100.0))
    assert costly.float_nodes["node_c"] == (
        "saves 5.0 µs on integers, less than the conversions around it cost"
    )
    assert not slower.values
    assert not costly.values
    assert not plan_of(source, _target(4.0, 9.0, 4.0)).float_nodes


def test_the_preference_forgives_no_more_than_the_whole_gains() -> None:
    """Slower on integers everywhere: forgiving a fifth would make the model slower than float."""
    source, target = convs("r = Relu(c)"), _target(10.0, 9.0, 0.0)
    assert plan_of(source, target, preference=0.0).float_nodes
    assert plan_of(source, target, preference=0.2).float_nodes


def test_the_preference_forgives_a_share_of_the_integer_time() -> None:
    """The depthwise node alone is slower on integers, the whole gains either way."""
    source = convs("r = Conv<group = 6>(c, d)", d=rng_weight(6, 1, 1, 1))
    costs = {
        "stem": {"integer": {"call_us": 5.0}, "float": {"call_us": 9.0}},
        "dense": {"integer": {"call_us": 5.0}, "float": {"call_us": 9.0}},
        "depthwise-ragged": {"integer": {"call_us": 10.0}, "float": {"call_us": 9.0}},
    }
    free: dict[str, dict[str, float]] = {"quantize": {}, "dequantize": {}}
    target = replace(load_target("cpu"), costs=CostTable.parse({**costs, **free}))
    assert set(plan_of(source, target, preference=0.0).float_nodes) == {"node_r"}
    assert not plan_of(source, target, preference=0.2).float_nodes


@pytest.mark.parametrize("front", ["", "q = Tanh(x)"])
def test_a_pool_runs_on_codes_only_behind_an_integer_node(front: str) -> None:
    read = "q" if front else "x"
    source = build(
        f"""f (float[1,4,8,8] x, float[6,4,1,1] w) => (float[1,6,M,N] y) {{
            {front}
            p = MaxPool<kernel_shape = [2,2]>({read})
            y = Conv(p, w) }}""",
        w=rng_weight(6, 4, 1, 1),
    )
    plan = plan_of(source)
    assert "node_p" in plan.float_nodes
    assert set(plan.values) == {"p", "w", "y"}
    assert "node_r" not in plan_of(convs("r = MaxPool<kernel_shape = [2,2]>(c)")).float_nodes


def test_what_the_plan_held_before_stays() -> None:
    source = convs("r = Relu(c)")
    before = QuantPlan(bias_shift={"node_c": np.ones(6, np.float32)}, groups=(frozenset("xy"),))
    plan = revised(AssignIntegers(), hand_context(source), before)
    assert plan.bias_shift == before.bias_shift
    assert frozenset("xy") in plan.groups


def test_the_plan_is_the_same_every_time() -> None:
    source = convs("a = Sigmoid(c) r = Mul(a, c)")
    one, two = plan_of(source), plan_of(source)
    assert list(one.values) == list(two.values)
    assert one.groups == two.groups
    assert one.notes == two.notes
