"""The values that layers on integers multiply by their weights, whose bits can be chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.query import heavy
from onnxq.plan.quant_plan import ValuePlan

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.spec import IntType

__all__ = ["ActivationSite", "activation_sites", "multiplying_layers", "narrowed"]


class ActivationSite(NamedTuple):
    """Values that hold the same codes.

    Attributes:
        name: Of the first of them that a layer multiplies.
        members: Names of all, sorted.
        layers: That multiply one of them by a weight.
    """

    name: str
    members: tuple[str, ...]
    layers: tuple[ir.Node, ...]


def multiplying_layers(value: ir.Value, plan: QuantPlan) -> list[ir.Node]:
    """Returns the layers on integers that multiply ``value`` by a weight, in graph order."""
    return [
        user
        for user, position in value.uses()
        if position == 0
        and heavy(user)
        and str(user.name) not in plan.float_nodes
        and str(user.inputs[1].name) in plan.values  # type: ignore[union-attr]
    ]


def activation_sites(graph: ir.Graph, plan: QuantPlan) -> list[ActivationSite]:
    """Returns the sites in the order of the graph.

    Left out are values whose channels are quantized apart.

    Args:
        graph: Of the float model.
        plan: What runs on integers, and which values share params.
    """
    values = [*graph.inputs, *(out for node in graph for out in node.outputs)]
    layers = {str(v.name): multiplying_layers(v, plan) for v in values if v.name in plan.values}
    found: dict[tuple[str, ...], ActivationSite] = {}
    for name, own in layers.items():
        members = tuple(n for n in sorted(plan.group_of(name)) if n in plan.values)
        if not own or members in found or any(n in plan.clusters for n in members):
            continue
        readers = tuple(node for n in members for node in layers.get(n, ()))
        found[members] = ActivationSite(name, members, readers)
    return list(found.values())


def narrowed(plan: QuantPlan, names: Iterable[str], dtype: IntType) -> QuantPlan:
    """Returns ``plan`` with values of another type, which have no params yet.

    Args:
        plan: Quantizes the values.
        names: Of the values.
        dtype: The type.
    """
    changed = {n: ValuePlan(replace(plan.values[n].spec, dtype=dtype)) for n in names}
    return plan.with_values(changed)
