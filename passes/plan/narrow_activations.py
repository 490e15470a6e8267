"""Fewer bits for what layers multiply by their weights.

Activations of b bits mean that the products of a network are those of b-bit numbers. What a layer
writes for a function or a sum alone (the input of LeakyRelu, the gate of SiLU, one side of an Add)
enters no product: it keeps the target's own type, and is rounded once instead of twice.
The first and the last layers are the most sensitive and the cheapest (Zhou et al.,
"DoReFa-Net", 2016, section 2.7): they keep the target's type as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from onnxq.graph.edge_layers import edge_layers
from onnxq.pass_options import switch, whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.activation_sites import multiplying_layers, narrowed
from onnxq.plan.note import Note, NoteKind

if TYPE_CHECKING:
    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["NarrowActivations"]


@dataclass(frozen=True)
class NarrowActivations(PlanPass):
    """Narrows what layers multiply by their weights, all but the first and the last.

    1. A value is narrowed if a layer on integers multiplies it by a weight; values that share
       params with it are narrowed along, since they hold the same codes.
    2. None of them is, if a first or a last layer (``onnxq.graph.edge_layers``) is among their
       readers and :attr:`edges` is off.

    Attributes:
        bits: Of a narrowed value; the target's own number changes nothing.
        edges: Whether the first and the last layers are narrowed too.
    """

    name = "narrow-activations"
    options = MappingProxyType(
        {
            "bits": whole("a whole number from 2 to 8", lambda bits: 2 <= bits <= 8),
            "edges": switch(),
        }
    )
    after = frozenset({"leave-unseen", "share-params"})
    on_request = True

    bits: int = 8
    edges: bool = False

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with other types; what it has of params is fitted afterwards."""
        if self.bits >= context.target.activation.bits:
            return plan
        narrow = context.target.activation_type(self.bits)
        graph = context.model.graph
        edges = frozenset() if self.edges else edge_layers(graph)
        values = [*graph.inputs, *(out for node in graph for out in node.outputs)]
        layers = {
            str(value.name): names
            for value in values
            if value.name in plan.values
            and (names := [str(node.name) for node in multiplying_layers(value, plan)])
        }
        changed: set[str] = set()
        notes = []
        for name in layers:
            members = [n for n in sorted(plan.group_of(name)) if n in plan.values]
            readers = sorted({reader for n in members for reader in layers.get(n, ())})
            edge = next((reader for reader in readers if reader in edges), None)
            if edge is None:
                changed |= {*members}
            kind = NoteKind.FIRED if edge is None else NoteKind.REFUSED
            text = str(narrow) if edge is None else f"'{edge}' is a first or a last layer"
            notes.append(Note(kind, self.name, name, text))
        return narrowed(plan, sorted(changed), narrow).with_notes(notes)
