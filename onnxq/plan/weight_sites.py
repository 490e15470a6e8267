"""The weights whose bits can be chosen, and what they take of each resource at a width.

1. The weight of a layer on integers has a plan; that of a layer that computes in float can be
   stored as integers (``onnxq.plan.stored_weight``). Layers that read one weight share its bits.
2. Left as they are: weights whose columns are quantized apart, those that have to stay float, and
   those that the loss does not see, as nothing is known of what they cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.packed import stored_bits
from onnxq.graph.query import heavy, macs, weight_of
from onnxq.plan.allocation import FLOAT_BITS
from onnxq.plan.quant_plan import Use
from onnxq.plan.stored_weight import stays_float

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan

    Shapes = Mapping[str, tuple[int, ...]]

__all__ = ["WeightSite", "bit_operations", "weight_sites"]

_WEIGHT_POSITION = 1


class WeightSite(NamedTuple):
    """A weight whose bits can be chosen.

    Attributes:
        name: Of the weight.
        elements: Numbers in it.
        integer: Layers that multiply its codes.
        real: Layers that compute in float.
    """

    name: str
    elements: int
    integer: tuple[ir.Node, ...]
    real: tuple[ir.Node, ...]

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """All layers that read it."""
        return (*self.integer, *self.real)

    def stored_bytes(self, bits: int, opset: int) -> float:
        """Returns what the numbers take in the file; layers of both kinds have a copy each.

        Args:
            bits: Of a number.
            opset: Of the model.
        """
        copies = 1 if bits == FLOAT_BITS else bool(self.integer) + bool(self.real)
        return copies * self.elements * stored_bits(bits, opset) / 8


def weight_sites(
    model: ir.Model, plan: QuantPlan, seen: Collection[str], keep_float: Iterable[str] = ()
) -> list[WeightSite]:
    """Returns the sites in the order of the graph.

    Args:
        model: The float model.
        plan: What runs on integers.
        seen: Names of the nodes that the loss depends on.
        keep_float: Patterns (as in fnmatch) of the names of nodes whose weights stay float.
    """
    readers: dict[str, list[ir.Node]] = {}
    for node in model.graph:
        if heavy(node) and weight_of(node.inputs[_WEIGHT_POSITION]) is not None:
            readers.setdefault(str(node.inputs[_WEIGHT_POSITION].name), []).append(node)  # type: ignore[union-attr]
    found = []
    for name, nodes in readers.items():
        value = model.graph.initializers[name]
        integer = tuple(n for n in nodes if str(n.name) not in plan.float_nodes)
        real = tuple(n for n in nodes if str(n.name) in plan.float_nodes)
        split = any(str(n.inputs[0].name) in plan.clusters for n in nodes)  # type: ignore[union-attr]
        unplanned = integer and name not in plan.values
        stays = real and stays_float(value, keep_float)
        if split or unplanned or stays or not all(str(n.name) in seen for n in nodes):
            continue
        weight = weight_of(value)
        assert weight is not None
        found.append(WeightSite(name, weight.size, integer, real))
    return found


def bit_operations(
    node: ir.Node, bits: int, plan: QuantPlan, shapes: Shapes, *, on_integers: bool
) -> float:
    """Returns multiply-accumulates times the bits of both factors.

    Args:
        node: A heavy node.
        bits: Of its weight.
        plan: Has the bits of its input.
        shapes: Value name → shape of one sample.
        on_integers: Whether it multiplies codes; numbers have 32 bits otherwise.
    """
    work = float(macs(node, shapes) or 0)
    planned = plan.of(str(node.inputs[0].name), Use(str(node.name), 0))  # type: ignore[union-attr]
    if not on_integers or bits == FLOAT_BITS or planned is None:
        return work * FLOAT_BITS**2
    return work * bits * planned.spec.dtype.bits
