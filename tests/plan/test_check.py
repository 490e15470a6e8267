from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.errors import PlanError
from onnxq.plan.check import check_plan, violations
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import IntType, PerAxis, PerBlock, PerTensor
from tests.passes.plan.planning import context_for, eager_target, plan_for
from tests.passes.rewrite.building import build
from tests.plan.checking import (
    CPU,
    ONE,
    field,
    fitting,
    found,
    network,
    planned,
    scales,
    use,
    value,
    with_use,
    zeros,
)

if TYPE_CHECKING:
    from tests.plan.checking import Edit


def test_a_plan_of_the_passes_fits() -> None:
    context, plan = fitting()
    assert len(plan.values) > 8
    assert violations(plan, context.model, context.target, context.shapes) == []
    check_plan(plan, context.model, context.target)


def test_an_empty_plan_fits() -> None:
    context, _ = fitting()
    assert violations(QuantPlan(), context.model, CPU) == []


def test_the_first_violation_is_raised_with_the_number_of_the_others() -> None:
    context, _ = fitting()
    wrong = QuantPlan(float_nodes={"nobody": "", "no one": ""})
    with pytest.raises(PlanError, match=r"^the plan does not fit: .*'nobody'.*\(and 1 more\)$"):
        check_plan(wrong, context.model, CPU)


ENTRIES: list[tuple[str, Edit, str]] = [
    ("value", lambda p: p.with_values({"rr": ONE}), "no value 'rr'; did you mean 'r'?"),
    ("far value", lambda p: p.with_values({"other": ONE}), "no value 'other'; remove it"),
    ("use", lambda p: with_use(p, "nodec", 0, ONE), "'nodec'; did you mean 'node_c'?"),
    ("input", lambda p: with_use(p, "node_c", 3, ONE), "'node_c:3': the node has no such"),
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
    (
        "levels",
        value("w", levels=np.array([-9, 128])),
        "value 'w': its levels reach outside [-127, 127]; remove them",
    ),
    (
        "codes and levels",
        value("w", levels=np.array([-9, 1]), codes=zeros(8, 4, 3, 3)),
        "some of its codes are not among its levels",
    ),
    (
        "levels of blocks",
        value("s", granularity=PerBlock(0, 3), levels=np.array([-9, 1])),
        "a weight with a scale per block cannot have levels",
    ),
    ("levels of an activation", value("x", levels=np.array([1, 9])), "only weights can have lev"),
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
def test_entries_that_do_not_fit(edit: Edit, words: str) -> None:
    lines = found(edit)
    assert any(words in line for line in lines), lines
    assert not any("\n" in line for line in lines)


def test_integers_cannot_be_planned() -> None:
    source = build("f (int64[2] x) => (int64[2] y) { y = Add(x, x) }")
    lines = violations(QuantPlan({"x": ONE}), source, CPU)
    assert lines == ["value 'x': its type is INT64, and only FLOAT can be quantized; remove it"]


def test_narrower_types_are_allowed() -> None:
    edit = value("s", dtype=IntType.parse("int4"), codes=None)
    assert found(edit) == []


@pytest.mark.parametrize("activation", ["uint8", "uint4"])
def test_plans_of_the_passes_fit_every_activation_type(activation: str) -> None:
    context = context_for(network(), eager_target(activation))
    plan = plan_for(context)
    assert violations(plan, context.model, context.target, context.shapes) == []
