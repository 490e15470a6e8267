"""Where channels come from, through nodes that only pass them on.

A routing node hands channels (axis 1) on whole and unchanged: Concat, Slice, Split, Gather and
shuffles (:mod:`onnxq.graph.shuffle`). A routed value is the output of one. It is real if something
else than routing reads it; then it has to exist, and it is in turn where others get channels from.
A routed value that is not real is only a way of naming channels of other values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxq.graph.query import is_graph_output, is_op, read_values, shape_of, weight_of
from onnxq.graph.shuffle import Shuffle, shuffle_at

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx_ir as ir

__all__ = ["Channel", "Routing", "read_routing"]


class Channel(NamedTuple):
    """One channel of a value, counted in the order that the float model gives it."""

    value: ir.Value
    number: int


class _Route(NamedTuple):
    """The channels of one routed value, and the shuffle that moved them, if one did."""

    channels: tuple[Channel, ...]
    shuffle: Shuffle | None


class Routing(NamedTuple):
    """All routing of a graph.

    Attributes:
        routes: Routed value → what its node takes from that node's inputs.
        nodes: The routing nodes.
        real: Routed value that is real → its number, in the graph's order.
        shuffles: The shuffles among the nodes.
    """

    routes: Mapping[ir.Value, _Route]
    nodes: frozenset[ir.Node]
    real: Mapping[ir.Value, int]
    shuffles: tuple[Shuffle, ...]

    def channels(self, value: ir.Value) -> tuple[Channel, ...]:
        """Returns where the channels of a routed value come from: channels that exist."""

        def expand(channel: Channel) -> Channel:
            while channel.value in self.routes and channel.value not in self.real:
                channel = self.routes[channel.value].channels[channel.number]
            return channel

        return tuple(expand(channel) for channel in self.routes[value].channels)

    def shuffles_of(self, value: ir.Value) -> list[Shuffle]:
        """Returns the shuffles between a routed value and the values that its channels are of."""
        found: dict[ir.Node, Shuffle] = {}
        seen: set[ir.Value] = set()
        stack = [value]
        while stack:
            route = self.routes[stack.pop()]
            if route.shuffle is not None:
                found[route.shuffle.node] = route.shuffle
            inputs = dict.fromkeys(channel.value for channel in route.channels)
            new = [v for v in inputs if v in self.routes and v not in self.real and v not in seen]
            seen.update(new)
            stack += new
        return list(found.values())


def read_routing(graph: ir.Graph, kept: Collection[ir.Node] = ()) -> Routing:
    """Finds all routing of ``graph``.

    Args:
        graph: The main graph.
        kept: First nodes of shuffles that are to count as any other node.
    """
    routes: dict[ir.Value, _Route] = {}
    nodes: set[ir.Node] = set()
    shuffles: list[Shuffle] = []
    for node in graph:
        shuffle = None if node in kept or not is_op(node, "Reshape") else shuffle_at(node)
        if shuffle is not None:
            shuffles.append(shuffle)
            nodes.update(shuffle.nodes)
            for value, channels in shuffle.exits.items():
                taken = tuple(Channel(shuffle.source, index) for index in channels)
                routes[value] = _Route(taken, shuffle)
        elif node not in nodes:
            found = _read(node)
            if found is not None:
                nodes.add(node)
                routes.update((value, _Route(taken, None)) for value, taken in found.items())
    needed = {value for node in graph if node not in nodes for value in read_values(node)}
    real = [value for value in routes if value in needed or is_graph_output(value)]
    numbered = {value: number for number, value in enumerate(real)}
    return Routing(routes, frozenset(nodes), numbered, tuple(shuffles))


def _read(node: ir.Node) -> dict[ir.Value, tuple[Channel, ...]] | None:
    """Returns output → channels of the inputs for a routing node, None for any other node."""
    x, shape = (node.inputs[0], shape_of(node.inputs[0])) if node.inputs else (None, None)
    if x is None or shape is None or len(shape) < 3 or shape[1] is None:
        return None
    if is_op(node, "Concat"):
        return _read_concat(node)
    if not is_op(node, "Slice", "Split", "Gather"):
        return None
    every = np.arange(shape[1])
    parts = (_slice if is_op(node, "Slice") else _split if is_op(node, "Split") else _gather)(
        node, every, len(shape)
    )
    if parts is None:
        return None
    return {
        value: tuple(Channel(x, int(index)) for index in part)
        for value, part in zip(node.outputs, parts, strict=True)
    }


def _read_concat(node: ir.Node) -> dict[ir.Value, tuple[Channel, ...]] | None:
    shapes = [shape_of(item) for item in node.inputs]
    axis = node.attributes.get_int("axis", 0)
    taken: list[Channel] = []
    for item, shape in zip(node.inputs, shapes, strict=True):
        if item is None or shape is None or len(shape) < 3 or axis % len(shape) != 1:
            return None
        if shape[1] is None or weight_of(item) is not None:
            return None
        taken += [Channel(item, index) for index in range(shape[1])]
    return {node.outputs[0]: tuple(taken)}


def _slice(node: ir.Node, every: Any, rank: int) -> list[Any] | None:  # noqa: ANN401 (arrays)
    given: list[Any] = [None if item is None else weight_of(item) for item in node.inputs[1:]]
    if any(item is None or item.size != 1 for item in given):
        return None
    start, end, axis, step = [*(int(item.reshape(())) for item in given), *(0, 1)[len(given) - 2 :]]
    return [every[start:end:step]] if axis % rank == 1 and step > 0 else None


def _split(node: ir.Node, every: Any, rank: int) -> list[Any] | None:  # noqa: ANN401
    sizes = [shape_of(value) for value in node.outputs]
    counts = [size[1] if size is not None else None for size in sizes]
    if node.attributes.get_int("axis", 0) % rank != 1 or None in counts:
        return None
    ends = np.cumsum([count for count in counts if count is not None])
    return np.split(every, ends[:-1]) if ends[-1] == every.size else None


def _gather(node: ir.Node, every: Any, rank: int) -> list[Any] | None:  # noqa: ANN401
    indices = weight_of(node.inputs[1])
    if indices is None or indices.ndim != 1 or node.attributes.get_int("axis", 0) % rank != 1:
        return None
    return [every[indices]]
