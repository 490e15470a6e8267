"""Bits for layers' weights and what they multiply: the least loss that budgets allow.

What a width costs a layer is estimated at the float model, each layer alone
(``onnxq.search.bit_costs``); which layer gets which is an integer program
(``onnxq.plan.allocation``). Yao et al. 2021 ("HAWQ-V3") choose so between 4 and 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from onnxq.graph.query import heavy
from onnxq.options import SENSITIVITIES
from onnxq.pass_options import choice
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.allocation import FLOAT_BITS
from onnxq.plan.note import Note, NoteKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnxq.budget import Budget
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.search.bit_front import BitFront, Chosen

    LayerCosts = tuple[str, dict[int, float]]

__all__ = ["AllocateBits"]

_WEIGHT_POSITION = 1


@dataclass(frozen=True)
class AllocateBits(PlanPass):
    """Gives every layer's weight, and what it multiplies, the bits that budgets leave for them.

    1. Layers on integers get 2, 3, 4 or 8 bits; those that compute in float may keep 32. A budget
       of latency makes float a choice for the others too, so far as time is left for it: with a
       float weight, or with one stored in any of these widths.
    2. A budget of operations gives what they multiply a choice too: 4 bits, or those of the target.
    3. Bits are counted as they are stored: 3 in 4, and 2 too where the opset has no such type.
    4. Where costs were told in several ways, the choice by each is measured with all layers
       rounded, and the one that loses least is taken.
    5. Without a budget nothing changes.

    Attributes:
        budgets: All of them hold.
        front: Finds out what widths cost, by a method, and holds the choice for any budget.
        sensitivity: That method; the front says which one "auto" comes to.
    """

    name = "allocate-bits"
    options = MappingProxyType({"sensitivity": choice(*SENSITIVITIES)})
    after = frozenset({"fit-activations", "fit-weights", "split-outliers", "keep-signal"})
    on_request = True

    budgets: tuple[Budget, ...]
    front: Callable[[PlanContext, QuantPlan, str], BitFront]
    sensitivity: str = SENSITIVITIES[0]

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with other bits; weights have scales, and codes are the nearest.

        Raises:
            RequirementError: A budget cannot be met.
        """
        if not self.budgets:
            return plan
        front = self.front(context, plan, self.sensitivity)
        chosen = front.at(self.budgets)
        costs = _costs(context, front)
        plan = replace(chosen.plan, bit_costs={name: costs[name][1] for name in costs})
        notes = [*self._layers(costs, chosen, front), *self._values(chosen, front)]
        return plan.with_notes([*notes, *self._sums(chosen, front)])

    def _layers(
        self, costs: Mapping[str, LayerCosts], chosen: Chosen, front: BitFront
    ) -> list[Note]:
        notes = []
        for name, (weight, by_bits) in costs.items():
            option = chosen.allocation.options[weight]
            told = ", ".join(f"{width}: {loss:.3g}" for width, loss in by_bits.items())
            what = "float" if option.bits == FLOAT_BITS else f"{option.bits} bits"
            what += ", computes in float" if option.real else ""
            text = f"{what}; {front.method} cost of bits {told}"
            notes.append(Note(NoteKind.FIRED, self.name, name, text))
        return notes

    def _values(self, chosen: Chosen, front: BitFront) -> list[Note]:
        """Says what activations got, where they had a choice."""
        notes = []
        for one in front.choices:
            if one.products:
                bits = chosen.allocation.options[one.name].bits
                told = ", ".join(f"{o.bits}: {o.loss:.3g}" for o in one.options)
                text = f"{bits} bits; cost of bits {told}"
                notes.append(Note(NoteKind.FIRED, self.name, one.name, text))
        return notes

    def _sums(self, chosen: Chosen, front: BitFront) -> list[Note]:
        """Says what was spent of each budget, and what the bits cost together."""
        texts = [
            f"{one.budget}: {one.amount} spent, {'binds' if one.binds else 'does not bind'}"
            for one in chosen.spent
        ]
        texts.append(f"{front.method} cost: {chosen.allocation.loss:.4g} in all; {front.meaning}")
        if chosen.joint:
            told = ", ".join(f"{loss:.4g} ({method})" for method, loss in chosen.joint.items())
            texts.append(f"with all layers rounded as each method chooses: {told}; least taken")
        return [Note(NoteKind.INFO, self.name, "graph", text) for text in texts]


def _costs(context: PlanContext, front: BitFront) -> dict[str, LayerCosts]:
    """Returns layer → its weight, and bits → loss for all widths but float, in graph order."""
    choices = {one.name: one for one in front.choices}
    found = {}
    for node in context.model.graph:
        weight = str(node.inputs[_WEIGHT_POSITION].name) if heavy(node) else ""  # type: ignore[union-attr]
        if weight in choices:
            options = choices[weight].options
            costs = {option.bits: option.loss for option in options if option.coded}
            found[str(node.name)] = (weight, costs)
    return found
