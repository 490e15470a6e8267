"""What every width of every layer's weight takes: bytes, stored bits, operations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from onnxq.graph.packed import stored_bits
from onnxq.graph.query import heavy, weight_of
from onnxq.plan.allocation import FLOAT_BITS, Choice, Option
from onnxq.plan.weight_sites import bit_operations

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.weight_sites import WeightSite

__all__ = ["WidthResources"]


@dataclass(frozen=True)
class WidthResources:
    """Makes choices of what widths cost at the outputs.

    Attributes:
        context: With the float model and its shapes.
        plan: What runs on integers.
        sites: The weights with a choice.
        beyond: Bits → bytes of a file whose sites all have them, codes left out.
        multiplied: Names of the layers whose operations are products of two choices.
    """

    context: PlanContext
    plan: QuantPlan
    sites: Sequence[WeightSite]
    beyond: Mapping[int, float]
    multiplied: Collection[str] = ()

    def choice(self, site: WeightSite, costs: Mapping[int, float]) -> Choice:
        """Returns all that there is to choose from for a weight.

        A layer that can run on integers may compute in float with a stored weight instead.

        Args:
            site: The weight.
            costs: Bits → loss at the outputs.
        """
        options = [Option(bits, costs[bits], self._taken(site, bits)) for bits in self.beyond]
        if site.integer:
            plain = site._replace(integer=(), real=site.nodes)
            options += [
                Option(bits, costs[bits], self._taken(plain, bits), real=True)
                for bits in self.beyond
            ]
        options.append(Option(FLOAT_BITS, 0.0, self._taken(site, FLOAT_BITS)))
        return Choice(site.name, tuple(options), tuple(str(node.name) for node in site.integer))

    def rest(self) -> Choice:
        """Returns what all else takes, as a choice without alternative."""
        chosen = {str(node.name) for site in self.sites for node in site.nodes}
        named = {site.name for site in self.sites}
        operations, elements = 0.0, 0.0
        for node in self._layers:
            if str(node.name) in chosen:
                continue
            name, coded = str(node.inputs[1].name), str(node.name) not in self.plan.float_nodes  # type: ignore[union-attr]
            planned = self.plan.values.get(name) if coded else None
            bits = FLOAT_BITS if planned is None else planned.spec.dtype.bits
            operations += self._operations(node, bits, on_integers=coded)
            weight = weight_of(node.inputs[1])
            elements += 0 if weight is None or name in named else weight.size * self._stored(bits)
        taken = {
            "size": min(self.beyond.values()),
            "avg-weight-bits": elements / self._elements,
            "bops": operations,
        }
        return Choice("", (Option(FLOAT_BITS, 0.0, taken),))

    def whole(self, float_bytes: int) -> dict[str, float]:
        """Returns what the float model takes.

        Args:
            float_bytes: Of its file.
        """
        operations = (self._operations(n, FLOAT_BITS, on_integers=False) for n in self._layers)
        return {"size": float(float_bytes), "bops": sum(operations)}

    def _taken(self, site: WeightSite, bits: int) -> dict[str, float]:
        least = min(self.beyond.values())
        around = (self.beyond.get(bits, least) - least) / len(self.sites)
        operations = (
            self._operations(node, bits, on_integers=coded)
            for nodes, coded in ((site.integer, True), (site.real, False))
            for node in nodes
            if str(node.name) not in self.multiplied
        )
        return {
            "size": site.stored_bytes(bits, self._opset) + around,
            "avg-weight-bits": site.elements * self._stored(bits) / self._elements,
            "bops": sum(operations),
        }

    def _operations(self, node: ir.Node, bits: int, *, on_integers: bool) -> float:
        shapes = self.context.shapes
        return bit_operations(node, bits, self.plan, shapes, on_integers=on_integers)

    def _stored(self, bits: int) -> int:
        return stored_bits(bits, self._opset)

    @property
    def _opset(self) -> int:
        return self.context.model.graph.opset_imports[""]

    @cached_property
    def _layers(self) -> list[ir.Node]:
        return [node for node in self.context.model.graph if heavy(node)]

    @cached_property
    def _elements(self) -> int:
        """Numbers in the weights of all layers, each weight once."""
        weights = {str(n.inputs[1].name): weight_of(n.inputs[1]) for n in self._layers}  # type: ignore[union-attr]
        return max(1, sum(weight.size for weight in weights.values() if weight is not None))
