"""Leaves float what no calibration sample has shown anything of.

A value can stay without a single number: the rows of a detector's second stage where nothing was
found, the inside of a loop that never ran. No scale can be fitted to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.touching import touching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["LeaveUnseen"]

_REASON = "no calibration sample has a single number here"


@dataclass(frozen=True)
class LeaveUnseen(PlanPass):
    """Decides anew, with the nodes around planned values without statistics in float.

    Attributes:
        decide: Makes the first plan, in which the named nodes stay float, for the reasons given.
    """

    name = "leave-unseen"

    decide: Callable[[PlanContext, Mapping[str, str]], QuantPlan]

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan``, or one that plans no value without statistics."""
        while nodes := touching(_unseen(context, plan), context.model.graph, plan, context.target):
            kept = {name: plan.float_nodes[name] for name in plan.kept_float}
            plan = self.decide(context, {**kept, **dict.fromkeys(nodes, _REASON)})
        return plan


def _unseen(context: PlanContext, plan: QuantPlan) -> list[str]:
    assert context.stats is not None, "the pipeline fits plans only where there is data"
    graph = context.model.graph
    values = [*graph.inputs, *(out for node in graph for out in node.outputs)]
    names = [str(value.name) for value in values]
    return [name for name in names if name in plan.values and name not in context.stats]
