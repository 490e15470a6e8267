from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.errors import PlanError
from onnxq.graph.roles import is_constant
from onnxq.plan.check import check_plan, violations
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, PerBlock, PerTensor, QParams, QuantSpec
from onnxq.plan.target import load_target
from tests.passes.plan.planning import context_for, eager_target, plan_for
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.spec import Granularity

    Edit = Callable[[QuantPlan], QuantPlan]

CPU = load_target("cpu")
BIG = 2.0**24


def network() -> ir.Model:
    """Every rule has a place here.

    x → Conv c → Relu r → MaxPool p → Conv d → Clip k → Flatten f → Gemm g → MatMul m → Add y.
    """
    return build(
        """f (float[1,4,8,8] x, float[8,4,3,3] w, float[8] b, float[8,8,1,1] v, float lo, float hi,
              float[128,6] u, float[6] ub, float[6,5] s, float[5] sb) => (float[1,5] y) {
            c = Conv<pads = [1,1,1,1]>(x, w, b)
            r = Relu(c)
            p = MaxPool<kernel_shape = [2,2], strides = [2,2]>(r)
            d = Conv(p, v)
            k = Clip(d, lo, hi)
            f = Flatten(k)
            g = Gemm(f, u, ub)
            m = MatMul(g, s)
            y = Add(m, sb) }""",
        w=rng_weight(8, 4, 3, 3),
        b=rng_weight(8),
        v=rng_weight(8, 8, 1, 1),
        lo=np.float32(0),
        hi=np.float32(6),
        u=rng_weight(128, 6),
        ub=rng_weight(6),
        s=rng_weight(6, 5),
        sb=rng_weight(5),
    )


@pytest.fixture(scope="module")
def context() -> PlanContext:
    return context_for(network())


@pytest.fixture(scope="module")
def plan(context: PlanContext) -> QuantPlan:
    return plan_for(context)


def found(edit: Edit, plan: QuantPlan, context: PlanContext) -> list[str]:
    return violations(edit(plan), context.model, context.target, context.shapes)


def value(name: str, **changes: object) -> Edit:
    """Edits the plan of one value; fields of spec and params are found by name."""
    return lambda plan: plan.with_values({name: edited(plan.values[name], **changes)})


def edited(planned: ValuePlan, **changes: object) -> ValuePlan:
    of_spec = {k: v for k, v in changes.items() if k in ("dtype", "symmetric", "granularity")}
    of_params = {k: v for k, v in changes.items() if k in ("scale", "zero_point")}
    rest = {k: v for k, v in changes.items() if k in ("params", "codes")}
    params = planned.params
    if of_params:
        assert params is not None
        params = replace(params, **of_params)  # type: ignore[arg-type]
    spec = replace(planned.spec, **of_spec)  # type: ignore[arg-type]
    return replace(planned, spec=spec, params=params, **rest)  # type: ignore[arg-type]


def use(node: str, position: int, name: str, **changes: object) -> Edit:
    return lambda plan: plan.with_uses({Use(node, position): edited(plan.values[name], **changes)})


def field(**changes: object) -> Edit:
    return lambda plan: replace(plan, **changes)  # type: ignore[arg-type]


def scales(*numbers: float) -> npt.NDArray[np.float32]:
    return np.array(numbers, np.float32)


def zeros(*shape: int) -> npt.NDArray[np.int32]:
    return np.zeros(shape, np.int32)


def planned(
    dtype: str = "uint8",
    granularity: Granularity | None = None,
    scale: npt.ArrayLike = 0.1,
    zero_point: npt.ArrayLike = 0,
) -> ValuePlan:
    kind = IntType.parse(dtype)
    params = QParams(np.asarray(scale, np.float32), np.asarray(zero_point))
    return ValuePlan(QuantSpec(kind, kind.signed, granularity or PerTensor()), params)


def test_a_plan_of_the_passes_fits(plan: QuantPlan, context: PlanContext) -> None:
    assert len(plan.values) > 8
    assert violations(plan, context.model, context.target, context.shapes) == []
    check_plan(plan, context.model, context.target)


def test_an_empty_plan_fits(context: PlanContext) -> None:
    assert violations(QuantPlan(), context.model, CPU) == []


def test_the_first_violation_is_raised_with_the_number_of_the_others(context: PlanContext) -> None:
    wrong = QuantPlan(float_nodes={"nobody": "", "no one": ""})
    with pytest.raises(PlanError, match=r"^the plan does not fit: .*'nobody'.*\(and 1 more\)$"):
        check_plan(wrong, context.model, CPU)


ONE = planned()

ENTRIES: list[tuple[str, Edit, str]] = [
    ("value", lambda p: p.with_values({"rr": ONE}), "no value 'rr'; did you mean 'r'?"),
    ("far value", lambda p: p.with_values({"other": ONE}), "no value 'other'; remove it"),
    ("use", lambda p: p.with_uses({Use("nodec", 0): ONE}), "'nodec'; did you mean 'node_c'?"),
    ("input", lambda p: p.with_uses({Use("node_c", 3): ONE}), "'node_c:3': the node has no such"),
    ("group", field(groups=(frozenset({"x", "zz"}),)), "no value 'zz'"),
    ("shift", field(bias_shift={"zz": scales(1)}), "no node 'zz'"),
    ("float node", field(float_nodes={"zz": "why"}), "no node 'zz'"),
    ("no params", value("x", params=None), "value 'x': it has no scale; give one"),
    ("use params", use("node_c", 0, "x", params=None), "use 'node_c:0': it has no scale"),
    ("axis", value("w", granularity=PerAxis(4)), "value 'w': axis 4 does not exist in shape [8, 4"),
    ("channels", value("w", granularity=PerAxis(1)), "8 scales for the 4 channels of axis 1"),
    ("scales", value("w", scale=scales(1), zero_point=zeros(1)), "1 scales for the 8 channels"),
    ("one scale", value("w", granularity=PerTensor()), "one scale is asked for, and 8 are there"),
    ("dims", value("w", scale=np.ones((8, 1)), zero_point=zeros(8, 1)), "has one dimension, not 2"),
    (
        "channels of an activation",
        lambda p: p.with_values({"x": planned("uint8", PerAxis(1), [1.0] * 3, [0] * 3)}),
        "value 'x': there are 3 scales for the 4 channels of axis 1",
    ),
    (
        "blocks",
        lambda p: p.with_values(
            {"s": planned("int8", PerBlock(0, 4), np.ones((3, 5)), zeros(3, 5))}
        ),
        "value 's': its scale has shape [3, 5] where blocks ask for [2, 5]",
    ),
    ("zero point", value("x", zero_point=np.array(256)), "zero point 256 is outside uint8, [0, 25"),
    ("below", value("x", zero_point=np.array(-1)), "zero point -1 is outside uint8"),
    (
        "symmetric",
        value("w", zero_point=np.arange(8)),
        "must be 0, because it is symmetric, and is 1",
    ),
    ("middle", value("x", symmetric=True, zero_point=np.array(127)), "must be 128, because"),
    (
        "codes",
        value("w", codes=np.full((8, 4, 3, 3), -128)),
        "reach from -128 to -128, outside [-127",
    ),
    (
        "codes' shape",
        value("w", codes=zeros(8, 4, 3)),
        "its codes have shape [8, 4, 3], the weight [8",
    ),
    ("codes of an activation", value("x", codes=zeros(1, 4, 8, 8)), "only weights can have codes"),
    ("wide", value("x", dtype=IntType.parse("uint16")), "cpu stores values as uint8 or narrower"),
    ("signed", value("x", dtype=IntType.parse("int8")), "cpu stores values as uint8 or narrower"),
    ("weight", value("w", dtype=IntType.parse("uint8")), "cpu stores weights as int8 or narrower"),
    ("asymmetric", value("w", symmetric=False), "value 'w': cpu wants symmetric weights"),
    ("group params", field(groups=(frozenset({"x", "r"}),)), "'r' and 'x' are in one group"),
    ("group float", field(groups=(frozenset({"x", "c"}),)), "'c' is float but 'x' of its group is"),
    (
        "shift of",
        field(bias_shift={"node_r": scales(1)}),
        "bias shift of 'node_r': Relu has no wei",
    ),
    ("shift size", field(bias_shift={"node_c": scales(1, 2)}), "2 numbers for 8 channels"),
    ("shift nan", field(bias_shift={"node_m": scales(*[np.nan] * 5)}), "number that is not finite"),
]


@pytest.mark.parametrize(
    ("edit", "words"), [row[1:] for row in ENTRIES], ids=[row[0] for row in ENTRIES]
)
def test_entries_that_do_not_fit(
    edit: Edit, words: str, plan: QuantPlan, context: PlanContext
) -> None:
    lines = found(edit, plan, context)
    assert any(words in line for line in lines), lines
    assert not any("\n" in line for line in lines)


def test_integers_cannot_be_planned() -> None:
    source = build("f (int64[2] x) => (int64[2] y) { y = Add(x, x) }")
    lines = violations(QuantPlan({"x": ONE}), source, CPU)
    assert lines == ["value 'x': its type is INT64, and only FLOAT can be quantized; remove it"]


def test_narrower_types_are_allowed(plan: QuantPlan, context: PlanContext) -> None:
    edit = value("s", dtype=IntType.parse("int4"), codes=None)
    assert found(edit, plan, context) == []


NODES: list[tuple[str, Edit, str]] = [
    (
        "moved",
        value("p", scale=scales(9)[0]),
        "node 'node_p' (MaxPool) only moves codes: 'r' and 'p'",
    ),
    ("moved type", value("f", dtype=IntType.parse("uint7")), "(Flatten) only moves codes: 'k' and"),
    ("relu", value("r", zero_point=np.array(1)), "'r' is behind Relu and must have zero point 0"),
    (
        "clip low",
        value("k", zero_point=np.array(1)),
        "'k' is behind Clip and must have zero point 0",
    ),
    (
        "clip high",
        value("k", scale=scales(6 / 254)[0]),
        "'k' is behind a Clip to 6, which its scale",
    ),
    (
        "weight axis",
        value("v", granularity=PerAxis(1)),
        "weight 'v' of node 'node_d' must have one scale, or one per output channel",
    ),
    (
        "weight blocks",
        lambda p: p.with_values(
            {"s": planned("int8", PerBlock(0, 3), np.ones((2, 5)), zeros(2, 5))}
        ),
        "weight 's' of node 'node_m' must have one scale",
    ),
    (
        "bias",
        field(bias_shift={"node_c": np.full(8, 1e9, np.float32)}),
        "node 'node_c': the bias of channel",
    ),
    (
        "added bias",
        field(bias_shift={"node_m": np.full(5, 1e9, np.float32)}),
        "node 'node_m': the bias of channel",
    ),
    (
        "pairs",
        value("v", codes=np.full((8, 8, 1, 1), 65)),
        "in channel 0 two neighbouring codes of 'v'",
    ),
    (
        "x",
        lambda p: p.with_values({"x": planned("uint8", PerAxis(1), [1] * 4, [0] * 4)}),
        "no Conv on",
    ),
    (
        "use per channel",
        lambda p: p.with_uses({Use("node_c", 0): planned("uint8", PerAxis(1), [1] * 4, [0] * 4)}),
        "use 'node_c:0' of 'x' must have one scale",
    ),
    (
        "other axis",
        lambda p: p.with_values({"x": planned("uint8", PerAxis(2), [1] * 8, [0] * 8)}),
        "value 'x' must have one scale, or one per channel",
    ),
]


def moved(edit: Edit) -> Edit:
    """Keeps groups out of it, so that the nodes have the say."""
    return lambda plan: edit(replace(plan, groups=()))


@pytest.mark.parametrize(
    ("edit", "words"), [row[1:] for row in NODES], ids=[row[0] for row in NODES]
)
def test_nodes_that_ask_for_something_else(
    edit: Edit, words: str, plan: QuantPlan, context: PlanContext
) -> None:
    lines = found(moved(edit), plan, context)
    assert any(words in line for line in lines), lines


@pytest.mark.parametrize(
    ("scale", "fits"), [(6 / 254.4, False), (6 / 254.6, True)], ids=["wider", "as wide"]
)
def test_a_clip_saturates_where_its_bound_rounds_to_the_last_code(
    scale: float, fits: bool, plan: QuantPlan, context: PlanContext
) -> None:
    def edit(old: QuantPlan) -> QuantPlan:
        return value("k", scale=scales(scale)[0])(value("f", scale=scales(scale)[0])(old))

    assert (found(edit, plan, context) == []) is fits


def test_a_relu_behind_a_float_node_may_have_any_zero_point() -> None:
    source = build(
        "f (float[1,2,4,4] x, float[2,2,1,1] w) => (float[1,2,4,4] y) { c = Conv(x, w) y = Relu(c) }",
        w=rng_weight(2, 2, 1, 1),
    )
    assert violations(QuantPlan({"y": planned(zero_point=5)}), source, CPU) == []


@pytest.mark.parametrize("with_codes", [False, True], ids=["rounded", "given"])
def test_sums_must_fit_int32(with_codes: bool) -> None:
    size = 70_000
    weight = np.full((size, 2), 0.5, np.float32)
    weight[:, 1] = 1.0
    source = build(
        f"f (float[1,{size}] x, float[{size},2] w) => (float[1,2] y) {{ y = MatMul(x, w) }}",
        w=weight,
    )
    codes = np.rint(weight * 126).astype(np.int32) if with_codes else None
    wide = replace(planned("int8", scale=1 / 126), codes=codes)
    target = replace(CPU, pair_bound=None)
    lines = violations(QuantPlan({"x": planned(), "w": wide}), source, target)
    assert lines == [
        "node 'node_y': the sum of channel 1 may reach 2.25e+09, more than int32 holds; "
        "raise the scale of 'w'"
    ]
    narrow = planned("int8", scale=1 / 63)
    assert violations(QuantPlan({"x": planned(), "w": narrow}), source, target) == []


def test_pairs_are_not_limited_where_kernels_add_in_32_bits() -> None:
    source = build(
        """f (float[1,4,8,8] x, float[4,1,3,3] w) => (float[1,4,6,6] y) {
            y = Conv<group = 4>(x, w) }""",
        w=np.ones((4, 1, 3, 3), np.float32),
    )
    plan = QuantPlan({"x": ONE, "w": planned("int8", scale=1 / 127), "y": ONE})
    assert violations(plan, source, CPU) == []


def channelwise(tail: str, **weights: npt.ArrayLike) -> ir.Model:
    """c is written by a convolution; ``tail`` makes y of it."""
    names = {"v": "float[4,1,3,3] v", "dense": "float[4,4,1,1] dense"}
    declared = "".join(f", {names[name]}" for name in weights)
    return build(
        f"""f (float[1,2,8,8] x, float[4,2,1,1] w, float[4] b{declared}) => (float[1,4,M,N] y) {{
            c = Conv(x, w, b) {tail} }}""",
        w=rng_weight(4, 2, 1, 1),
        b=rng_weight(4),
        **weights,
    )


def channel_plan(source: ir.Model, name: str = "c", zero_point: npt.ArrayLike = 0) -> QuantPlan:
    """Everything is planned, weights coarsely; ``name`` has a scale per channel."""
    values = [*source.graph.inputs, *source.graph.initializers.values()]
    values += [out for node in source.graph for out in node.outputs]
    plans = {
        str(v.name): planned("int8") if is_constant(v) else ONE for v in values if v.name != "b"
    }
    each = np.broadcast_to(np.asarray(zero_point), 4)
    return QuantPlan({**plans, name: planned("uint8", PerAxis(1), [0.1, 0.2, 0.3, 0.4], each)})


DEPTHWISE = "y = Conv<group = 4>(c, v)"
V = rng_weight(4, 1, 3, 3)
DENSE = rng_weight(4, 4, 1, 1)


@pytest.mark.parametrize(
    ("source", "zero_point"),
    [
        (channelwise("y = Softmax(c)"), [0, 7, 100, 255]),
        (channelwise(DEPTHWISE, v=V), 9),
    ],
    ids=["float reader", "depthwise"],
)
def test_a_scale_per_channel_is_allowed(source: ir.Model, zero_point: npt.ArrayLike) -> None:
    target = replace(CPU, pair_bound=None)
    assert violations(channel_plan(source, zero_point=zero_point), source, target) == []


def test_a_scale_per_channel_behind_a_relu() -> None:
    source = channelwise("r = Relu(c) y = Softmax(r)")
    target = replace(CPU, pair_bound=None)
    plan = channel_plan(source, "r").without(["c"])
    assert violations(plan, source, target) == []
    lines = violations(channel_plan(source, "r", [0, 0, 1, 0]).without(["c"]), source, target)
    assert lines == ["value 'r' is behind Relu and must have zero point 0; change it"]


@pytest.mark.parametrize(
    ("source", "zero_point", "words"),
    [
        (channelwise(DEPTHWISE, v=V), [0, 0, 0, 1], "need equal zero points"),
        (channelwise("y = Conv(c, dense)", dense=DENSE), 0, "node 'node_y' mixes its channels"),
        (
            channelwise("a = Conv<group = 4>(c, v) y = Mul(c, c)", v=V),
            0,
            "not only convolutions on integers read it",
        ),
    ],
    ids=["zero points", "dense", "two kinds of reader"],
)
def test_a_scale_per_channel_that_would_change_the_function(
    source: ir.Model, zero_point: npt.ArrayLike, words: str
) -> None:
    target = replace(CPU, pair_bound=None)
    lines = violations(channel_plan(source, zero_point=zero_point), source, target)
    assert len(lines) == 1
    assert words in lines[0]


def test_a_scale_per_channel_needs_all_uses_alike() -> None:
    source = channelwise(DEPTHWISE, v=V)
    plan = channel_plan(source).with_uses({Use("node_y", 0): ONE})
    assert any(
        "a use of it has a plan of its own" in line for line in violations(plan, source, CPU)
    )


def test_a_scale_per_channel_behind_a_relu_that_shares_its_input() -> None:
    source = channelwise("r = Relu(c) s = Softmax(r) y = Add(s, c)")
    plan = channel_plan(source, "r").without(["c", "s", "y"])
    assert any("no Conv on integers writes it" in line for line in violations(plan, source, CPU))


def test_zero_points_per_channel_count_for_the_bias() -> None:
    source = channelwise("y = Softmax(c)")
    scale = [0.1, 0.1, 0.1, 1e9]
    each = planned("uint8", PerAxis(1), scale, [3, 3, 3, 0])
    plan = channel_plan(source).with_values({"c": each})
    lines = violations(plan, source, replace(CPU, pair_bound=None))
    assert len(lines) == 1
    assert "the bias of channel 3 needs a code of 3e+11" in lines[0]


def test_a_gemm_bias_with_rows() -> None:
    source = build(
        "f (float[2,3] x, float[3,2] w, float[2,2] b) => (float[2,2] y) { y = Gemm(x, w, b) }",
        w=rng_weight(3, 2),
        b=np.array([[1, 2], [1e12, 3]], np.float32),
    )
    plan = QuantPlan({"x": ONE, "w": planned("int8")})
    lines = violations(plan, source, replace(CPU, pair_bound=None))
    assert len(lines) == 1
    assert "the bias of channel 0 needs a code of 1e+14" in lines[0]


@pytest.mark.parametrize("activation", ["uint8", "uint4"])
def test_plans_of_the_passes_fit_every_activation_type(activation: str) -> None:
    context = context_for(network(), eager_target(activation))
    plan = plan_for(context)
    assert violations(plan, context.model, context.target, context.shapes) == []
