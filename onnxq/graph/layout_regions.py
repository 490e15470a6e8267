"""Regions of a graph through which orders of axes can pass, with the Transposes in them.

Take the Transposes away: what is left are values that are written (*sources*) and read, each in
some order of axes. All these orders are told against one, the region's own, so that "NCHW here,
NHWC there" is two orders, however many Transposes lie between. A node that does not care about the
order (:mod:`onnxq.graph.relayout`) is *free*; all others write and read in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.axis_order import Order, between, compose, order_of
from onnxq.graph.query import shape_of
from onnxq.graph.relayout import ports_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx_ir as ir

    from onnxq.graph.ports import Ports

__all__ = ["Read", "Region", "layout_regions"]


class Read(NamedTuple):
    """A place where a source is read, through Transposes or not.

    Attributes:
        value: What is read there now.
        node: The reader; None for an output of the graph.
        position: Among the reader's inputs, or the graph's outputs.
        order: Order of axes that is read.
    """

    value: ir.Value
    node: ir.Node | None
    position: int
    order: Order


@dataclass(eq=False)
class Region:
    """Values and free nodes that Transposes and free nodes connect.

    Attributes:
        orders: Value → its order of axes now, in the graph's order.
        free: Free node → its order of axes now.
        ports: Free node → its ports.
        transposes: The Transposes, and Reshapes that move axes of size 1, in the graph's order.
        reads: Source → where it is read; sources in the graph's order.
    """

    orders: dict[ir.Value, Order] = field(default_factory=dict)
    free: dict[ir.Node, Order] = field(default_factory=dict)
    ports: dict[ir.Node, Ports] = field(default_factory=dict)
    transposes: list[ir.Node] = field(default_factory=list)
    reads: dict[ir.Value, list[Read]] = field(default_factory=dict)

    def source(self, transpose: ir.Node) -> ir.Value:
        """Returns what ``transpose`` transposes, seen through other Transposes in front of it."""
        value = transpose.inputs[0]
        producer = value.producer() if value is not None else None
        while producer is not None and producer in self.transposes:
            value = producer.inputs[0]
            producer = value.producer() if value is not None else None
        assert value is not None
        return value

    def writer(self, source: ir.Value) -> ir.Node | None:
        """Returns the free node that writes ``source``, None if its order is fixed."""
        node = source.producer()
        return node if node in self.free else None

    def reader(self, read: Read) -> ir.Node | None:
        """Returns the free node that reads there, None if the order is fixed."""
        return read.node if self.through(read) else None

    def through(self, read: Read) -> bool:
        """Says whether a free node reads there, at a port."""
        ports = self.ports.get(read.node) if read.node is not None else None
        return ports is not None and read.position in ports.inputs


def layout_regions(graph: ir.Graph) -> list[Region]:
    """Returns the regions of ``graph`` that have a Transpose in them, in the graph's order.

    Where Transposes contradict each other, as in x + xᵀ, one of them counts as a fixed node.
    """
    pinned = _pinned(graph)
    ports: dict[ir.Node, Ports] = {}
    moves: dict[ir.Node, Order] = {}
    for node in graph:
        if any(value in pinned for value in node.outputs):
            continue
        order = order_of(node)
        if order is not None:
            moves[node] = order
        elif (found := ports_of(node)) is not None:
            ports[node] = found
    regions = _gather(graph, ports, moves)
    for region in regions:
        _find_reads(region, graph)
    return regions


def _pinned(graph: ir.Graph) -> set[ir.Value]:
    """Values of ``graph`` that a subgraph returns as they are: nobody can reroute them."""
    return {value for inner in graph.subgraphs() for value in inner.outputs if value is not None}


def _ported(node: ir.Node, ports: Ports) -> Iterator[ir.Value]:
    for position in ports.inputs:
        value = node.inputs[position]
        if value is not None:
            yield value
    for position in ports.outputs:
        yield node.outputs[position]


def _gather(
    graph: ir.Graph, ports: Mapping[ir.Node, Ports], moves: dict[ir.Node, Order]
) -> list[Region]:
    """Spreads orders from one value of each region to all others."""
    neighbours: dict[ir.Value, list[ir.Node]] = {}
    for node, found in ports.items():
        for value in _ported(node, found):
            neighbours.setdefault(value, []).append(node)
    for node in moves:
        for end in (node.inputs[0], node.outputs[0]):
            assert end is not None
            neighbours.setdefault(end, []).append(node)
    regions: list[Region] = []
    known: set[ir.Value] = set()
    for node in list(moves):
        start = node.inputs[0]
        if start is not None and start not in known:
            region = _spread(start, neighbours, ports, moves)
            known.update(region.orders)
            regions.append(region)
    place = {node: number for number, node in enumerate(graph)}
    for region in regions:
        region.transposes.sort(key=place.__getitem__)
        region.free = dict(sorted(region.free.items(), key=lambda item: place[item[0]]))
    return [region for region in regions if region.transposes]


def _spread(
    start: ir.Value,
    neighbours: Mapping[ir.Value, list[ir.Node]],
    ports: Mapping[ir.Node, Ports],
    moves: dict[ir.Node, Order],
) -> Region:
    """Collects the region around ``start``; a Transpose that contradicts is struck from moves."""
    shape = shape_of(start)
    assert shape is not None
    region = Region(orders={start: tuple(range(len(shape)))})
    stack: list[ir.Value] = [start]
    later: list[ir.Node] = []
    while stack or later:
        if not stack:  # free nodes first, so that it is a Transpose that contradicts
            _cross(later.pop(0), region, moves, stack)
            continue
        value = stack.pop()
        for node in neighbours.get(value, ()):
            if node in moves:
                later.append(node)
            elif node not in region.free and node in ports:
                region.free[node] = region.orders[value]
                region.ports[node] = ports[node]
                for other in _ported(node, ports[node]):
                    if other not in region.orders:
                        region.orders[other] = region.orders[value]
                        stack.append(other)
    return region


def _cross(
    node: ir.Node, region: Region, moves: dict[ir.Node, Order], stack: list[ir.Value]
) -> None:
    """Goes through a Transpose, in either direction."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if node not in moves or node in region.transposes:
        return
    order, straight = moves[node], range(len(moves[node]))
    if x in region.orders:
        other, found = y, compose(region.orders[x], order)
    else:
        other, found = x, compose(region.orders[y], between(order, tuple(straight)))
    if region.orders.setdefault(other, found) != found:
        del moves[node]
        return
    region.transposes.append(node)
    stack.append(other)


def _find_reads(region: Region, graph: ir.Graph) -> None:
    """Fills in the sources and their readers."""
    crossed = set(region.transposes)
    places: dict[ir.Value, list[int]] = {}
    for position, value in enumerate(graph.outputs):
        places.setdefault(value, []).append(position)
    for value, order in region.orders.items():
        source = value
        while (producer := source.producer()) is not None and producer in crossed:
            before = producer.inputs[0]
            assert before is not None
            source = before
        reads = region.reads.setdefault(source, [])
        reads += [Read(value, node, i, order) for node, i in value.uses() if node not in crossed]
        reads += [Read(value, None, place, order) for place in places.get(value, ())]
    _in_graph_order(region, graph)


def _in_graph_order(region: Region, graph: ir.Graph) -> None:
    place: dict[ir.Value, int] = dict.fromkeys(graph.inputs, -1)
    for number, node in enumerate(graph):
        place.update((value, number) for value in node.outputs)
    region.reads = dict(sorted(region.reads.items(), key=lambda item: place.get(item[0], -1)))
