"""What the pass says and asks for; what it chooses is a matter of ``onnxq.search.bit_front``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.budget import Budget
from onnxq.passes.plan.allocate_bits import AllocateBits
from onnxq.plan.allocation import Choice, Option
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.timing import Timing
from onnxq.search.bit_front import BitFront
from tests.passes.plan.planning import build, hand_context, revised
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    from onnxq.passbase import PlanContext

_TEXT = """f (float[1,4,8,8] x, float[8,4,3,3] w, float[3,8,1,1] v) => (float[1,3,6,6] y) {
    c = Conv(x, w)
    y = Conv(c, v) }"""
CHOSEN = QuantPlan(bias_shift={})


def option(bits: int, loss: float) -> Option:
    return Option(bits, loss, {"size": float(bits)})


@dataclass
class Asked:
    """Stands for the search; remembers the method."""

    method: str = ""

    def __call__(self, context: PlanContext, plan: QuantPlan, method: str) -> BitFront:
        del context, plan
        self.method = method
        return BitFront(
            choices=(
                Choice("w", [option(4, 0.5), option(8, 0.25), option(32, 0.0)]),
                Choice("v", [option(4, 0.1), option(32, 0.0)]),
            ),
            fixed=frozenset({"w"}),
            whole={"size": 64.0},
            timing=lambda: Timing({}, (), ()),
            planned=lambda _: CHOSEN,
            size_of=lambda _: 40,
            method="quadratic",
            meaning="by its curvature",
        )


def context() -> PlanContext:
    return hand_context(build(_TEXT, w=rng_weight(8, 4, 3, 3), v=rng_weight(3, 8, 1, 1)))


def test_every_layer_and_budget_is_told() -> None:
    asked = Asked()
    budgets = (Budget.parse("size=0.625x"),)

    found = revised(AllocateBits(budgets, asked, "auto"), context(), QuantPlan())

    assert asked.method == "auto"
    assert [(note.kind, note.where, note.text) for note in found.notes] == [
        (NoteKind.FIRED, "node_c", "8 bits; quadratic cost of bits 4: 0.5, 8: 0.25"),
        (NoteKind.FIRED, "node_y", "float; quadratic cost of bits 4: 0.1"),
        (NoteKind.INFO, "graph", "size=0.625x: 0.625x spent, does not bind"),
        (NoteKind.INFO, "graph", "quadratic cost: 0.25 in all; by its curvature"),
    ]
    assert found.bit_costs == {"node_c": {4: 0.5, 8: 0.25}, "node_y": {4: 0.1}}


def test_without_a_budget_nothing_is_asked() -> None:
    asked, plan = Asked(), QuantPlan()

    assert revised(AllocateBits((), asked), context(), plan) is plan
    assert not asked.method
