"""The orders of axes for the free nodes of a region that need the least transposing.

With two orders to choose from, that is a minimum s-t cut, as in :mod:`onnxq.plan.partition`: a
source that is read in the order it is not written in costs one Transpose, however many readers it
has. With more orders, two at a time are exchanged while that gains anything (Boykov, Veksler and
Zabih 2001, "Fast approximate energy minimization via graph cuts", section 4: α-β-swap).

Prices: a Transpose costs its elements and as much as ``_START`` more. It costs nothing if it moves
axes of size 1 alone, for then a Reshape does, or if its input is constant. Where Transposes cost
the same, one does better behind what can be merged with the layer before it, and in front of what
can be merged with the layer after it.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import networkx as nx

from onnxq.graph.axis_order import between, reshape_for
from onnxq.graph.query import is_op, weight_of
from onnxq.graph.relayout import is_pointwise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx_ir as ir

    from onnxq.graph.axis_order import Order
    from onnxq.graph.layout_regions import Read, Region

    Choice = Mapping[ir.Node, Order]

__all__ = ["cheapest_orders"]

_START = 4096
# In units so small that no sum of them outweighs an element, and below that, of changing a node.
_ELEMENT, _NEIGHBOURS, _CHANGE = 1_000_000, 100, 1
_LAYERS = ("BatchNormalization", "Conv", "ConvTranspose")
_TAKES_IN = ("AveragePool", "Conv", "MaxPool")


def cheapest_orders(region: Region) -> dict[ir.Node, Order] | None:
    """Returns an order for every free node of ``region``; None if as it is, it is as cheap."""
    best: dict[ir.Node, Order] = dict(region.free)
    cost = _total(region, best)
    pairs = list(itertools.combinations(dict.fromkeys(region.orders.values()), 2))
    gained = bool(region.free)
    while gained:
        gained = False
        for pair in pairs:
            found = _exchanged(region, best, pair)
            price = _total(region, found)
            if price < cost:
                best, cost, gained = found, price, True
    return best if cost < _total_now(region) else None


def _total_now(region: Region) -> int:
    """What the region costs with the Transposes that it has, needed or not.

    They are priced by what they transpose, as in :func:`_price`: of their results, other sizes may
    be known.
    """
    transposes = [node for node in region.transposes if is_op(node, "Transpose")]
    own = sum(_elements(region.source(node)) for node in transposes)
    return own + _neighbour_costs(region, region.free)


def _total(region: Region, choice: Choice) -> int:
    """What the region costs with the Transposes that ``choice`` needs."""
    total = _neighbour_costs(region, choice)
    for source, reads in region.reads.items():
        written = _written(region, source, choice)
        wanted = {_wanted(region, read, choice) for read in reads}
        total += sum(_price(region, source, written, order) for order in wanted)
    return total


def _neighbour_costs(region: Region, choice: Choice) -> int:
    total = 0
    for source, reads in region.reads.items():
        written = _written(region, source, choice)
        for read in reads:
            if _wanted(region, read, choice) != written:
                total += _affinity(source, read, region)
    return total


def _written(region: Region, source: ir.Value, choice: Choice) -> Order:
    writer = region.writer(source)
    return region.orders[source] if writer is None else choice[writer]


def _wanted(region: Region, read: Read, choice: Choice) -> Order:
    reader = region.reader(read)
    return read.order if reader is None else choice[reader]


# ---- prices --------------------------------------------------------------------------------------


def _elements(value: ir.Value) -> int:
    dims = [dim for dim in value.shape or () if isinstance(dim, int)]
    return (_START + math.prod(dims)) * _ELEMENT


def _price(region: Region, source: ir.Value, old: Order, new: Order) -> int:
    """What it costs to bring ``source`` from one order into another."""
    assert source.shape is not None
    if old == new or weight_of(source) is not None:
        return 0
    dims = [source.shape[axis] for axis in between(region.orders[source], old)]
    return 0 if reshape_for(between(old, new), dims) is not None else _elements(source)


def _affinity(source: ir.Value, read: Read, region: Region) -> int:
    """What it costs if a Transpose stands between two nodes that could be merged."""
    writer, reader = source.producer(), read.node
    if writer is None or reader is None:
        return 0
    if is_op(reader, "ReduceMean") or (is_pointwise(reader) and _single(reader, region)):
        return _NEIGHBOURS if is_op(writer, *_LAYERS) or is_pointwise(writer) else 0
    if is_op(reader, *_TAKES_IN) and read.position == 0:
        alone = is_op(writer, "Pad") or (is_pointwise(writer) and _single(writer, region))
        return 2 * _NEIGHBOURS if alone else 0
    return 0


def _single(node: ir.Node, region: Region) -> bool:
    return node in region.ports and len(region.ports[node].inputs) == 1


# ---- the cut -------------------------------------------------------------------------------------


def _exchanged(region: Region, choice: Choice, pair: tuple[Order, Order]) -> dict[ir.Node, Order]:
    """Returns the best choice in which nodes of either order of ``pair`` may take the other one."""
    cut = _Cut(region, choice, pair)
    for source, reads in region.reads.items():
        cut.add(source, reads)
    for node in cut.nodes:
        cut.add_node(node)
    return {**choice, **cut.solve()}


class _Cut:
    """A network whose cuts are choices between two orders; the source side is the first."""

    def __init__(self, region: Region, choice: Choice, pair: tuple[Order, Order]) -> None:
        self._region, self._choice, self._pair = region, choice, pair
        self._graph = nx.DiGraph()
        # numbers, not objects: the solver's order must not depend on addresses
        self._graph.add_nodes_from((0, 1))
        movable = [n for n in region.free if choice[n] in pair and self._fits(n)]
        self.nodes = {node: number for number, node in enumerate(movable, 2)}
        self._next = len(movable) + 2

    def add(self, source: ir.Value, reads: Iterable[Read]) -> None:
        """Adds the Transposes that ``source`` may need, once for all who read it in an order."""
        first, second = self._pair
        writer, written = self._writer(source)
        ends = {self._reader(read)[0] for read in reads}
        readers = [end for end in sorted(ends) if end >= 0 and end != writer]
        if writer >= 0:
            self._any_reader(writer, readers, self._price(source, first, second), forward=True)
            self._any_reader(writer, readers, self._price(source, second, first), forward=False)
        else:
            self._any_reader(1, readers, self._price(source, written, first), forward=False)
            self._any_reader(0, readers, self._price(source, written, second), forward=True)
        others = {order for end, order in map(self._reader, reads) if end < 0}
        if writer > 1:
            for side, order in enumerate(self._pair):
                self._on_side(writer, side, sum(self._price(source, order, o) for o in others))
        for read in reads:
            end, _ = self._reader(read)
            if end >= 0 and writer >= 0 and end != writer:
                cost = _affinity(source, read, self._region)
                self._edge(writer, end, cost)
                self._edge(end, writer, cost)

    def add_node(self, node: ir.Node) -> None:
        """Adds what it costs to change a node."""
        for side, order in enumerate(self._pair):
            if order != self._region.free[node]:
                self._on_side(self.nodes[node], side, _CHANGE)

    def solve(self) -> dict[ir.Node, Order]:
        """Returns the orders of the nodes in the cheapest cut."""
        _, (first, _) = nx.minimum_cut(self._graph, 0, 1)
        return {n: self._pair[0 if i in first else 1] for n, i in self.nodes.items()}

    def _fits(self, node: ir.Node) -> bool:
        now, fits = self._region.free[node], self._region.ports[node].fits
        return all(fits(between(now, order)) for order in self._pair)

    def _price(self, source: ir.Value, old: Order, new: Order) -> int:
        return _price(self._region, source, old, new)

    def _writer(self, source: ir.Value) -> tuple[int, Order]:
        order = _written(self._region, source, self._choice)
        return self._end(self._region.writer(source), order), order

    def _reader(self, read: Read) -> tuple[int, Order]:
        order = _wanted(self._region, read, self._choice)
        return self._end(self._region.reader(read), order), order

    def _end(self, node: ir.Node | None, order: Order) -> int:
        """The network's node for a writer or reader; -1 if it has neither of the orders."""
        if node in self.nodes:
            return self.nodes[node]
        return self._pair.index(order) if order in self._pair else -1

    def _any_reader(self, writer: int, readers: list[int], cost: int, *, forward: bool) -> None:
        """Costs once if any reader is on the other side than the writer."""
        if not cost or not readers:
            return
        between_them, self._next = self._next, self._next + 1
        if forward:
            self._edge(writer, between_them, cost)
        else:
            self._edge(between_them, writer, cost)
        for reader in readers:
            self._graph.add_edge(*((between_them, reader) if forward else (reader, between_them)))

    def _on_side(self, number: int, side: int, cost: int) -> None:
        self._edge(number, 1, cost) if side == 0 else self._edge(0, number, cost)

    def _edge(self, tail: int, head: int, cost: int) -> None:
        if cost:
            known = self._graph.get_edge_data(tail, head, {}).get("capacity", 0)
            self._graph.add_edge(tail, head, capacity=known + cost)
