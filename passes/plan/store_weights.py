"""Weights of layers that compute in float, as integers of 8 bits: the file is what shrinks.

A layer may stay float because integers would cost more time, or lose the signal of its input. Its
weight W need not: it is stored as codes, and Ŵ = scale · codes is computed as the model is loaded
(``onnxq.plan.scaled_weight``), so the layer runs as it did.

8 bits whatever other weights have: these layers are few, small and mostly the first. In 4 bits as
the others, rounded to the nearest, they cost mobilenetv1_025 5.8 and ultraface_rfb 2.7 points more,
for 0.005 of the float model's size; in 8 bits nothing that can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnxq.graph.query import heavy
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import Use, ValuePlan
from onnxq.plan.stored_weight import LEAST_STORED, stays_float, stored_weight

if TYPE_CHECKING:
    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["StoreWeights"]

_WEIGHT_POSITION = 1


@dataclass(frozen=True)
class StoreWeights(PlanPass):
    """Stores the weights of layers that stay float as integers; runs with weights of few bits.

    A weight stays float when

    1. a node that reads it is to stay float because the user says so,
    2. it is too small for its file to shrink,
    3. something other than heavy nodes of the main graph reads it, or it is an output,
    4. it is not float32, or not finite.

    What is planned for its use already stays as it is.

    Attributes:
        keep_float: Patterns (as in fnmatch) of node names whose weights stay float.
        per_channel: One scale per output channel instead of one per weight.
        least: Fewest elements of a weight for which it pays.
    """

    name = "store-weights"
    after = frozenset({"fit-weights", "keep-signal"})
    on_request = True

    keep_float: tuple[str, ...] = ()
    per_channel: bool = True
    least: int = LEAST_STORED

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the weights of float layers planned for these uses."""
        uses, notes = dict(plan.uses), []
        made: dict[str, ValuePlan] = {}
        for node in context.model.graph:
            if not heavy(node) or str(node.name) not in plan.float_nodes:
                continue
            value, name = node.inputs[_WEIGHT_POSITION], str(node.name)
            assert value is not None
            if value.name is None or Use(name, _WEIGHT_POSITION) in uses:
                continue
            if stays_float(value, self.keep_float, self.least):
                continue
            if value.name not in made:
                dtype = context.target.weight
                made[value.name] = stored_weight(node, dtype, per_channel=self.per_channel)
            uses[Use(name, _WEIGHT_POSITION)] = made[value.name]
            text = f"computes in float; its weight is stored as {context.target.weight}"
            notes.append(Note(NoteKind.FIRED, self.name, name, text))
        return replace(plan, uses=uses).with_notes(notes)
