"""Names that nothing in a graph bears yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Names", "fresh_name"]


class Names:
    """The names of a graph's nodes and values, those in subgraphs included, and those given out.

    Finding all names takes a walk over the whole graph, so who makes many nodes keeps one of these.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._taken = set(_names(graph))

    def fresh(self, stem: str) -> str:
        """Returns ``stem``, or ``stem`` with the lowest number that makes it new; takes it."""
        name, number = stem, 1
        while name in self._taken:
            name, number = f"{stem}_{number}", number + 1
        self._taken.add(name)
        return name


def fresh_name(graph: ir.Graph, stem: str) -> str:
    """Returns ``stem``, or ``stem`` with the lowest number that makes it new in the graph."""
    return Names(graph).fresh(stem)


def _names(graph: ir.Graph) -> Iterator[str | None]:
    for value in graph.inputs:
        yield value.name
    yield from graph.initializers
    for node in graph:
        yield node.name
        for value in node.outputs:
            yield value.name
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _names(attribute.as_graph())
            elif attribute.type == ir.AttributeType.GRAPHS:
                for inner in attribute.as_graphs():
                    yield from _names(inner)
