"""Weights of layers that compute in float, as integers of 8 bits: the file is what shrinks.

A layer may stay float because integers would cost more time, or lose the signal of its input. Its
weight W need not: it is stored as codes, and Ŵ = scale · codes is computed as the model is loaded
(``onnxq.plan.scaled_weight``), so the layer runs as it did.

8 bits whatever other weights have: these layers are few, small and mostly the first. In 4 bits as
the others, rounded to the nearest, they cost mobilenetv1_025 5.8 and ultraface_rfb 2.7 points more,
for 0.005 of the float model's size; in 8 bits nothing that can be seen.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import heavy, weight_of
from onnxq.graph.roles import weight_channel_axis
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import Use, ValuePlan
from onnxq.plan.spec import PerAxis, PerTensor, QuantSpec
from onnxq.plan.weight_params import weight_params

if TYPE_CHECKING:
    import onnx_ir as ir

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
    least: int = 1024

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the weights of float layers planned for these uses."""
        uses, notes = dict(plan.uses), []
        made: dict[str, ValuePlan] = {}
        for node in context.model.graph:
            if not heavy(node) or str(node.name) not in plan.float_nodes:
                continue
            value, name = node.inputs[_WEIGHT_POSITION], str(node.name)
            assert value is not None
            if self._stays(value):
                continue
            if str(value.name) not in made:
                made[str(value.name)] = self._plan(node, value, context)
            uses[Use(name, _WEIGHT_POSITION)] = made[str(value.name)]
            text = f"computes in float; its weight is stored as {context.target.weight}"
            notes.append(Note(NoteKind.FIRED, self.name, name, text))
        return replace(plan, uses=uses).with_notes(notes)

    def _stays(self, value: ir.Value) -> bool:
        weight = weight_of(value)
        assert weight is not None
        for user, position in value.uses():
            if any(fnmatch.fnmatchcase(str(user.name), pattern) for pattern in self.keep_float):
                return True
            if position != _WEIGHT_POSITION or not heavy(user) or user.graph is not value.graph:
                return True
        if value.is_graph_output() or weight.size < self.least or weight.dtype != np.float32:
            return True
        return not np.isfinite(weight).all()

    def _plan(self, node: ir.Node, value: ir.Value, context: PlanContext) -> ValuePlan:
        granularity = PerAxis(weight_channel_axis(node)) if self.per_channel else PerTensor()
        spec = QuantSpec(context.target.weight, True, granularity)
        weight = np.asarray(weight_of(value), np.float32)
        return ValuePlan(spec, weight_params(weight, spec))
