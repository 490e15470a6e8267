"""Eight bits for the few weights that few bits would hurt most.

Weights of few bits are affordable because a layer adds up hundreds of products: each code can make
up for the errors of the others (``onnxq.numerics.rounding``). An output of a depthwise convolution
has a handful of weights, and nothing to make up with. The first layers read the input as it is, and
errors of the last ones are errors of the model (Zhou et al., "DoReFa-Net", 2016, section 2.7; Li et
al., "BRECQ", 2021, section 4, leave them at 8 bits as well).

Where these hold few of the weights, 8 bits for them are next to nothing in the file. At 4 bits they
take a quarter off the loss of yolov5lite_s for 0.01 of the float model's size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from onnxq.graph.edge_layers import edge_layers
from onnxq.graph.query import heavy, weight_of
from onnxq.graph.roles import conv_kind
from onnxq.pass_options import number
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["WidenWeights"]

_WEIGHT_POSITION = 1


@dataclass(frozen=True)
class WidenWeights(PlanPass):
    """Keeps the target's own type for narrow weights of depthwise, first and last layers.

    1. A weight is a candidate if a depthwise convolution, a first or a last layer
       (``onnxq.graph.edge_layers``) on integers reads it.
    2. The smallest candidates get the type, as many as hold no more than :attr:`share` of all
       elements of weights.

    Attributes:
        share: Of all elements of weights; 0 leaves every weight as narrow as it is.
    """

    name = "widen-weights"
    options = MappingProxyType({"share": number("a share, 0 to 1", lambda share: 0 <= share <= 1)})

    share: float = 0.1

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with wider types of weights; what it has of params is fitted later."""
        wide = context.target.weight
        sizes: dict[str, int] = {}
        readers: dict[str, str] = {}
        edges = edge_layers(context.model.graph)
        for node in context.model.graph:
            if not heavy(node):
                continue
            name = str(node.inputs[_WEIGHT_POSITION].name)  # type: ignore[union-attr]
            weight = weight_of(node.inputs[_WEIGHT_POSITION])
            sizes[name] = 0 if weight is None else weight.size
            on_integers = str(node.name) not in plan.float_nodes and name in plan.values
            if on_integers and plan.values[name].spec.dtype.bits < wide.bits:
                why = _reason(node, edges)
                if why is not None:
                    readers[name] = f"'{node.name}' is {why}"
        left = self.share * sum(sizes.values())
        notes = []
        for name in sorted(readers, key=lambda name: sizes[name]):
            left -= sizes[name]
            kind = NoteKind.FIRED if left >= 0 else NoteKind.REFUSED
            text = str(wide) if left >= 0 else f"it would be over {self.share:.0%} of all weights"
            notes.append(Note(kind, self.name, name, f"{readers[name]}: {text}"))
            if left >= 0:
                spec = replace(plan.values[name].spec, dtype=wide)
                plan = plan.with_values({name: replace(plan.values[name], spec=spec)})
        return plan.with_notes(notes) if notes else plan


def _reason(node: ir.Node, edges: frozenset[str]) -> str | None:
    """Rule 1."""
    if node.op_type == "Conv" and conv_kind(node) == "depthwise":
        return "a depthwise convolution"
    return "a first or a last layer" if str(node.name) in edges else None
