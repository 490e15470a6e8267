"""Eight bits for the weights that few bits would hurt most.

Weights of few bits are affordable because a layer adds up hundreds of products: each code can make
up for the errors of the others (``onnxq.numerics.rounding``). An output of a depthwise convolution
has a handful of weights, and nothing to make up with. The first layers read the input as it is, and
errors of the last ones are errors of the model (Zhou et al., "DoReFa-Net", 2016, section 2.7; Li et
al., "BRECQ", 2021, section 4, leave them at 8 bits as well). Where these hold few of the weights, 8
bits for them are next to nothing in the file.

Other layers differ as well: in one network a weight of one costs the outputs ten times what a
weight of another does. The costliest get 8 bits too. With Δ what the nearest codes change and H the
curvature of the task's loss, a layer costs ½ Δᵀ H Δ (``onnxq.search.bit_costs``). Rounding by
outputs makes it less, but mostly alike; only the order counts here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import ModelError
from onnxq.graph.edge_layers import edge_layers
from onnxq.graph.on_disk import kept
from onnxq.graph.query import heavy, weight_of
from onnxq.graph.roles import conv_kind, reaches
from onnxq.pass_options import number
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.weight_error import weight_error
from onnxq.plan.weight_params import weight_params
from onnxq.search.bit_costs import bit_costs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.spec import IntType
    from onnxq.tasks.loss import OutputLoss

    _Readers = Mapping[str, Sequence[ir.Node]]

__all__ = ["WidenWeights"]

_WEIGHT_POSITION = 1
_SAMPLES = 64
# Of the share, for kinds of layers; the rest is for what proves to cost much.
_BY_KIND = 0.5


@dataclass(frozen=True)
class WidenWeights(PlanPass):
    """Keeps the target's own type for the narrow weights that need it most.

    1. A weight is a candidate by its kind if a depthwise convolution, a first or a last layer
       (``onnxq.graph.edge_layers``) on integers reads it.
    2. The smallest of these get the type, as many as hold no more than half of :attr:`share` of all
       elements of weights.
    3. Of the other weights on integers, those follow that cost the loss more than the mean of them,
       by element, the costliest first: each for which there is room in :attr:`share`. Without
       samples, or where an operator has no gradient, none does.

    Attributes:
        at_outputs: Makes the loss of the task for the float model.
        share: Of all elements of weights; 0 leaves every weight as narrow as it is.
    """

    name = "widen-weights"
    options = MappingProxyType({"share": number("a share, 0 to 1", lambda share: 0 <= share <= 1)})

    at_outputs: Callable[[ir.Model], OutputLoss]
    share: float = 0.15

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with wider types of weights; what it has of params is fitted later."""
        narrow = _narrow(context.model.graph, plan, context.target.weight)
        if not narrow or not self.share:
            return plan
        room = _Room(self.share * _elements(context.model.graph), plan, context.target.weight)
        self._by_kind(context, room, narrow)
        self._by_cost(context, room, narrow)
        return room.plan.with_notes(room.notes)

    def _by_kind(self, context: PlanContext, room: _Room, narrow: _Readers) -> None:
        """Rules 1 and 2."""
        edges = edge_layers(context.model.graph)
        kinds = {name: _kind(nodes, edges) for name, nodes in narrow.items()}
        reserve = (1 - _BY_KIND) * room.left
        for name in sorted((n for n in kinds if kinds[n]), key=lambda n: _size(narrow[n][0])):
            if not room.widen(name, _size(narrow[name][0]), reserve, kinds[name]):
                text = f"{kinds[name]}: it would be over {_BY_KIND * self.share:.0%} of all weights"
                room.notes.append(Note(NoteKind.REFUSED, self.name, name, text))

    def _by_cost(self, context: PlanContext, room: _Room, narrow: _Readers) -> None:
        """Rule 3."""
        still = {n: nodes for n, nodes in narrow.items() if room.bits(n) < room.wide.bits}
        loss = self.at_outputs(context.model)
        feeds = list(context.samples(_SAMPLES)) if still and room.left >= 1 else []
        changes = _changes(context.model, room.plan, still, loss) if feeds else {}
        if not changes:
            return
        try:
            costs = bit_costs(context.model, loss, feeds, changes, threads=context.threads)
        except ModelError as error:
            text = f"what bits cost is not known: {error}"
            room.notes.append(Note(NoteKind.REFUSED, self.name, "graph", text))
            return
        sizes = {name: _size(still[name][0]) for name in costs}
        found = {name: costs[name][room.bits(name)] for name in costs}
        mean = sum(found.values()) / sum(sizes.values())
        for name in sorted(found, key=lambda n: -found[n] / sizes[n]):
            if found[name] > mean * sizes[name]:
                text = f"{room.bits(name)} bits would cost {found[name]:.3g} at the outputs"
                room.widen(name, sizes[name], 0, text)


class _Room:
    """How many more elements of weights may be wide, and the plan so far.

    Attributes:
        left: Elements.
        plan: With what was widened.
        wide: The type.
        notes: Of what was done.
    """

    def __init__(self, left: float, plan: QuantPlan, wide: IntType) -> None:
        self.left = left
        self.plan = plan
        self.wide = wide
        self.notes: list[Note] = []

    def bits(self, name: str) -> int:
        """Returns how many a weight has so far."""
        return self.plan.values[name].spec.dtype.bits

    def widen(self, name: str, size: int, reserve: float, why: str) -> bool:
        """Gives a weight the type if that leaves ``reserve``, and says whether it did."""
        if self.left - size < reserve:
            return False
        self.left -= size
        value = self.plan.values[name]
        spec = replace(value.spec, dtype=self.wide)
        self.plan = self.plan.with_values({name: replace(value, spec=spec)})
        text = f"{why}: {self.wide}"
        self.notes.append(Note(NoteKind.FIRED, WidenWeights.name, name, text))
        return True


def _narrow(graph: ir.Graph, plan: QuantPlan, wide: IntType) -> _Readers:
    """Returns the weights of fewer bits than the type, and the nodes on integers that read each."""
    found: dict[str, list[ir.Node]] = {}
    for node in graph:
        name = str(node.inputs[_WEIGHT_POSITION].name) if heavy(node) else ""  # type: ignore[union-attr]
        if name not in plan.values or str(node.name) in plan.float_nodes:
            continue
        known = weight_of(node.inputs[_WEIGHT_POSITION]) is not None
        if known and plan.values[name].spec.dtype.bits < wide.bits:
            found.setdefault(name, []).append(node)
    return found


def _elements(graph: ir.Graph) -> int:
    """Returns the number of elements of all weights."""
    nodes = {str(n.inputs[_WEIGHT_POSITION].name): n for n in graph if heavy(n)}  # type: ignore[union-attr]
    return sum(map(_size, nodes.values()))


def _size(node: ir.Node) -> int:
    weight = weight_of(node.inputs[_WEIGHT_POSITION])
    return 0 if weight is None else weight.size


def _kind(nodes: Sequence[ir.Node], edges: frozenset[str]) -> str:
    """Rule 1: returns what makes a weight a candidate; empty for no candidate."""
    for node in nodes:
        if node.op_type == "Conv" and conv_kind(node) == "depthwise":
            return f"'{node.name}' is a depthwise convolution"
        if str(node.name) in edges:
            return f"'{node.name}' is a first or a last layer"
    return ""


def _changes(
    model: ir.Model, plan: QuantPlan, narrow: _Readers, loss: OutputLoss
) -> dict[str, dict[int, dict[str, npt.NDArray[np.float32]]]]:
    """Returns what the nearest codes change in each weight that the loss depends on, by bits."""
    nodes = list(model.graph)
    values = set(loss.values)
    wanted = {str(n.name): any(str(out.name) in values for out in n.outputs) for n in nodes}
    seen = reaches(nodes, wanted)
    found = {}
    for name, readers in narrow.items():
        weight = weight_of(readers[0].inputs[_WEIGHT_POSITION])
        if weight is None or not any(str(node.name) in seen for node in readers):
            continue
        real, planned = np.asarray(weight, np.float32), plan.values[name]
        coded = replace(planned, params=weight_params(real, planned.spec))
        found[name] = {planned.spec.dtype.bits: {name: kept(weight_error(real, coded))}}
    return found
