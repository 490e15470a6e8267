from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.plan.check import violations
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import IntType, PerAxis, PerBlock
from tests.passes.rewrite.building import build, rng_weight
from tests.plan.checking import (
    CPU,
    ONE,
    channel_plan,
    channelwise,
    field,
    found,
    planned,
    scales,
    value,
    with_use,
    zeros,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from tests.plan.checking import Edit


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
        value("w", codes=np.full((8, 4, 3, 3), 65)),
        "in channel 0 two neighbouring codes of 'w'",
    ),
    (
        "x",
        lambda p: p.with_values({"x": planned("uint8", PerAxis(1), [1] * 4, [0] * 4)}),
        "no Conv with a",
    ),
    (
        "use per channel",
        lambda p: with_use(p, "node_c", 0, planned("uint8", PerAxis(1), [1] * 4, [0] * 4)),
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
def test_nodes_that_ask_for_something_else(edit: Edit, words: str) -> None:
    lines = found(moved(edit))
    assert any(words in line for line in lines), lines


@pytest.mark.parametrize(
    ("scale", "fits"), [(6 / 254.4, False), (6 / 254.6, True)], ids=["wider", "as wide"]
)
def test_a_clip_saturates_where_its_bound_rounds_to_the_last_code(scale: float, fits: bool) -> None:
    def edit(old: QuantPlan) -> QuantPlan:
        return value("k", scale=scales(scale)[0])(value("f", scale=scales(scale)[0])(old))

    assert (found(edit) == []) is fits


def test_a_relu_behind_a_float_node_may_have_any_zero_point() -> None:
    source = build(
        """f (float[1,2,4,4] x, float[2,2,1,1] w) => (float[1,2,4,4] y) {
            c = Conv(x, w) y = Relu(c) }""",
        w=rng_weight(2, 2, 1, 1),
    )
    assert violations(QuantPlan({"y": planned(zero_point=5)}), source, CPU) == []


def test_scales_that_a_bias_raises_leave_the_codes_in_place() -> None:
    weight = rng_weight(4, 2, 1, 1) * 1e-3
    source = build(
        "f (float[1,2,4,4] x, float[4,2,1,1] w) => (float[1,4,4,4] y) { y = Conv(x, w) }", w=weight
    )
    coarse = replace(planned("int8"), codes=np.zeros((4, 2, 1, 1), np.int32))
    assert violations(QuantPlan({"x": ONE, "w": coarse, "y": ONE}), source, CPU) == []


DEPTHWISE = "y = Conv<group = 4>(c, v)"
GROUPED = "y = Conv<group = 2>(c, pairs)"
V, PAIRS, DENSE = rng_weight(4, 1, 3, 3), rng_weight(4, 2, 1, 1), rng_weight(4, 4, 1, 1)
NO_PAIRS = replace(CPU, pair_bound=None)


@pytest.mark.parametrize(
    ("source", "zero_point"),
    [
        (channelwise("y = Softmax(c)"), [0, 7, 100, 255]),
        (channelwise(DEPTHWISE, v=V), 9),
        (channelwise("y = Conv(c, dense)", dense=DENSE), 9),
        (
            channelwise(
                "a = Conv<group = 4>(c, v) d = Conv(c, dense) y = Softmax(d)", v=V, dense=DENSE
            ),
            9,
        ),
    ],
    ids=["float reader", "depthwise", "dense", "two convolutions"],
)
def test_a_scale_per_channel_is_allowed(source: ir.Model, zero_point: npt.ArrayLike) -> None:
    assert violations(channel_plan(source, zero_point=zero_point), source, NO_PAIRS) == []


def test_a_scale_per_channel_behind_a_relu() -> None:
    source = channelwise("r = Relu(c) y = Softmax(r)")
    plan = channel_plan(source, "r").without(["c"])
    assert violations(plan, source, NO_PAIRS) == []
    lines = violations(channel_plan(source, "r", [0, 0, 1, 0]).without(["c"]), source, NO_PAIRS)
    assert lines == ["value 'r' is behind Relu and must have zero point 0; change it"]


def without_codes(plan: QuantPlan, name: str) -> QuantPlan:
    return plan.with_values({name: replace(plan.values[name], codes=None)})


BOTH = "a = Conv<group = 4>(c, v) y = Mul(c, c)"
TWICE = "a = Conv(c, dense) y = Conv(a, dense)"

FAULTS: list[tuple[str, str, dict[str, npt.ArrayLike], Edit, str]] = [
    ("two kinds", BOTH, {"v": V}, field(), "not only convolutions with planned weights read it"),
    ("groups", GROUPED, {"pairs": PAIRS}, field(), "node 'node_y' has groups of channels"),
    ("shared", TWICE, {"dense": DENSE}, field(), "weight 'dense' has no codes made for it alone"),
    (
        "no codes",
        DEPTHWISE,
        {"v": V},
        lambda plan: without_codes(plan, "v"),
        "weight 'v' has no codes made for it alone",
    ),
    (
        "use",
        DEPTHWISE,
        {"v": V},
        lambda plan: with_use(plan, "node_y", 0, ONE),
        "a use of it has a plan of its own",
    ),
    (
        "writer",
        DEPTHWISE,
        {"v": V},
        lambda plan: plan.without(["w"]),
        "no Conv with a planned weight",
    ),
]


@pytest.mark.parametrize(
    ("tail", "weights", "edit", "words"), [row[1:] for row in FAULTS], ids=[r[0] for r in FAULTS]
)
def test_a_scale_per_channel_that_would_change_the_function(
    tail: str, weights: dict[str, npt.ArrayLike], edit: Edit, words: str
) -> None:
    source = channelwise(tail, **weights)
    lines = violations(edit(channel_plan(source)), source, NO_PAIRS)
    assert len(lines) == 1
    assert words in lines[0]


def test_zero_points_per_channel_must_be_equal_for_convolutions() -> None:
    source = channelwise(DEPTHWISE, v=V)
    lines = violations(channel_plan(source, zero_point=[0, 0, 0, 1]), source, NO_PAIRS)
    assert len(lines) == 1
    assert "the convolutions that read it need equal zero points" in lines[0]


def test_a_scale_per_channel_behind_a_relu_that_shares_its_input() -> None:
    source = channelwise("r = Relu(c) s = Softmax(r) y = Add(s, c)")
    plan = channel_plan(source, "r").without(["c", "s", "y"])
    assert any("no Conv with a planned weight" in line for line in violations(plan, source, CPU))


def test_codes_that_were_made_for_other_scales_per_channel() -> None:
    source = channelwise("y = Conv(c, dense)", dense=DENSE)
    plan = channel_plan(source).with_values({"c": ONE})
    lines = violations(plan, source, NO_PAIRS)
    assert len(lines) == 1
    assert "the codes of weight 'dense' are" in lines[0]


def test_codes_that_were_chosen_by_what_comes_out_may_be_far_off_the_weight() -> None:
    source = channelwise("y = Conv(c, dense)", dense=DENSE)
    plan = channel_plan(source).with_values({"c": ONE})
    dense = plan.values["dense"]
    assert dense.params is not None
    rounded = replace(dense, params=replace(dense.params, method="gptq"))
    assert violations(plan.with_values({"dense": rounded}), source, NO_PAIRS) == []
