"""The first and the last layers of a network: the heavy nodes nearest to its inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.query import heavy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir

__all__ = ["edge_layers"]


def edge_layers(graph: ir.Graph) -> frozenset[str]:
    """Returns the names of the heavy nodes that another heavy node does not shield on every way.

    A layer is first if a graph input reaches it, and last if it reaches a graph output, through
    nodes without weights.
    """
    nodes = list(graph)
    first = _met(nodes, {id(value) for value in graph.inputs})
    last = _met(nodes[::-1], {id(value) for value in graph.outputs}, backward=True)
    return frozenset(first | last)


def _met(nodes: Iterable[ir.Node], edge: set[int], *, backward: bool = False) -> set[str]:
    """Returns the heavy nodes that the values ``edge`` meet first, walking along ``nodes``."""
    found: set[str] = set()
    for node in nodes:
        near, far = (node.outputs, node.inputs) if backward else (node.inputs, node.outputs)
        if not any(id(value) in edge for value in near):
            continue
        if heavy(node):
            found.add(str(node.name))
        else:
            edge.update(id(value) for value in far if value is not None)
    return found
