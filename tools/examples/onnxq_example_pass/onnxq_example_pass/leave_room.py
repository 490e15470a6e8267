"""Widens ranges: what the model will see may exceed what the calibration samples show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from onnxq.pass_options import number
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.spec import PerTensor

if TYPE_CHECKING:
    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["LeaveRoom"]


@dataclass(frozen=True)
class LeaveRoom(PlanPass):
    """Widens the range of every planned activation with one scale.

    Attributes:
        percent: By how much.
    """

    name = "leave-room"
    options = MappingProxyType(
        {"percent": number("a number from 0 to 100", lambda share: 0 <= share <= 100)}
    )
    after = frozenset({"fit-activations"})

    percent: float = 5.0

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with greater scales; zero points stay."""
        factor = 1 + self.percent / 100
        widened = {
            name: replace(planned, params=replace(params, scale=params.scale * factor))
            for name, planned in plan.values.items()
            if name not in context.model.graph.initializers
            and (params := planned.params) is not None
            and isinstance(planned.spec.granularity, PerTensor)
        }
        note = Note(NoteKind.FIRED, self.name, "plan", f"{len(widened)} ranges widened")
        return plan.with_values(widened).with_notes([note])
