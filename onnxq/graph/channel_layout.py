"""Chooses in which order values hold their channels, so that routing becomes cutting and joining.

Let M be a real routed value: a list of channels of other values. If M may have any order, only the
set of its channels matters, and it costs nothing but copies if, in every value that it takes from,
its channels lie side by side. So, from the end of the graph to its beginning, the channels of each
class are sorted into segments by who takes them (:func:`_segments`); then, from the beginning to
the end, each class gets its order (:func:`_orders`): a class that begins at a convolution holds its
segments one after the other, one that begins at a routed value additionally keeps together what
comes from the same value. What an M is made of are its pieces: ranges of channels of other values.

Segments only keep the pieces few. Whatever the orders are, the pieces are right: they are read off
the orders.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir

    from onnxq.graph.channel_classes import ChannelClass
    from onnxq.graph.channel_routing import Channel, Routing

    Classes = Mapping[ir.Value, ChannelClass]
    Tokens = tuple[tuple[int, int], ...]

__all__ = ["Layout", "Piece", "choose_layout"]


class Piece(NamedTuple):
    """The channels from ``start`` to before ``end``, as ``value`` holds them."""

    value: ir.Value
    start: int
    end: int


class Layout(NamedTuple):
    """An order for every class and what every real routed value is made of.

    Attributes:
        orders: Class → for every place, the channel that is to be there. Classes that keep their
            order are absent.
        pieces: Real routed value → the pieces that it joins.
        moved: Those real routed values that have to be made anew, for their nodes would compute
            something else.
    """

    orders: Mapping[ChannelClass, tuple[int, ...]]
    pieces: Mapping[ir.Value, tuple[Piece, ...]]
    moved: tuple[ir.Value, ...]


def choose_layout(routing: Routing, classes: Classes) -> Layout:
    """Returns the layout of a graph; may pin classes.

    Args:
        routing: The routing of the graph.
        classes: Value → its class.
    """
    taken = {value: routing.channels(value) for value in routing.real}
    order = _pin_and_sort(taken, classes)
    segments = _segments(taken, classes, order)
    orders = _orders(taken, classes, order, segments)
    changed = {c: tuple(o) for c, o in orders.items() if o != list(range(c.size))}
    places = _Places(classes, changed)
    made = {value: places.wanted(value, channels) for value, channels in taken.items()}
    moved = [
        value
        for value in taken
        if routing.shuffles_of(value) or places.computed(routing, value) != made[value]
    ]
    return Layout(changed, {value: _pieces(made[value]) for value in taken}, tuple(moved))


def _pin_and_sort(
    taken: Mapping[ir.Value, Sequence[Channel]], classes: Classes
) -> list[ChannelClass]:
    """Pins what no order suits, and returns the classes, those that others take from first.

    1. A value that holds a channel twice keeps its order, as does a class with two routed values.
    2. So does a class that takes from itself.
    3. So does a routed value of which a pinned one takes: its pieces would lie across each other.
    """
    graph: nx.DiGraph[ChannelClass] = nx.DiGraph()
    graph.add_nodes_from(dict.fromkeys(classes.values()))
    roots = Counter(classes[value] for value in taken)
    for value, channels in taken.items():
        target = classes[value]
        if len(set(channels)) < len(channels) or roots[target] > 1:
            target.pin(f"'{value.name}' repeats channels or is added to others of its kind")
        graph.add_edges_from((classes[channel.value], target) for channel in channels)
    for component in list(nx.strongly_connected_components(graph)):
        if len(component) > 1 or any(graph.has_edge(item, item) for item in component):
            for item in component:
                item.pin(f"'{item.values[0].name}' depends on itself")
    free = graph.subgraph(item for item in graph if item.pinned is None)
    order = list(nx.topological_sort(free))
    for item in reversed(order):
        pinned = next((user for user in graph.successors(item) if user.pinned), None)
        if item in roots and pinned is not None:
            item.pin(str(pinned.pinned))
    return [item for item in order if item.pinned is None]


def _segments(
    taken: Mapping[ir.Value, Sequence[Channel]], classes: Classes, order: Sequence[ChannelClass]
) -> dict[ChannelClass, list[int]]:
    """Returns class → for every channel, the number of the segment that it belongs to.

    Channels are in the same segment if the same routed values take them: in the same segment there
    if these are free, in the same run of neighbours if they are pinned.
    """
    users: dict[ChannelClass, list[tuple[int, ir.Value]]] = {}
    for number, (value, channels) in enumerate(taken.items()):
        for item in dict.fromkeys(classes[channel.value] for channel in channels):
            users.setdefault(item, []).append((number, value))
    segments: dict[ChannelClass, list[int]] = {}
    for item in reversed(order):
        tokens: list[list[tuple[int, int]]] = [[] for _ in range(item.size)]
        for number, value in users.get(item, ()):
            parts = segments.get(classes[value]) or _runs(taken[value])
            for channel, part in zip(taken[value], parts, strict=True):
                if classes[channel.value] is item:
                    tokens[channel.number].append((number, part))
        known: dict[Tokens, int] = {}
        segments[item] = [known.setdefault(tuple(token), len(known)) for token in tokens]
    return segments


def _runs(channels: Sequence[Channel]) -> list[int]:
    """Numbers the runs of channels that follow each other in their value."""
    numbers = [0]
    for before, channel in pairwise(channels):
        follows = channel == (before.value, before.number + 1)
        numbers.append(numbers[-1] + (not follows))
    return numbers


def _orders(
    taken: Mapping[ir.Value, Sequence[Channel]],
    classes: Classes,
    order: Sequence[ChannelClass],
    segments: Mapping[ChannelClass, list[int]],
) -> dict[ChannelClass, list[int]]:
    """Returns free class → for every place, the channel that is to be there."""
    roots = {classes[value]: channels for value, channels in taken.items()}
    orders: dict[ChannelClass, list[int]] = {}
    places: dict[ChannelClass, dict[int, int]] = {}
    for item in order:
        ranks = [(0, channel) for channel in range(item.size)]
        if item in roots:
            first = {v: i for i, v in enumerate(dict.fromkeys(c.value for c in roots[item]))}
            ranks = [
                (first[value], places.get(classes[value], {}).get(index, index))
                for value, index in roots[item]
            ]
        keys = list(zip(segments[item], ranks, strict=True))
        orders[item] = sorted(range(item.size), key=keys.__getitem__)
        places[item] = {channel: place for place, channel in enumerate(orders[item])}
    return orders


class _Places:
    """Tells at which place a value holds a channel."""

    def __init__(self, classes: Classes, orders: Mapping[ChannelClass, Sequence[int]]) -> None:
        self._classes = classes
        self._orders = orders
        self._places = {
            item: {channel: place for place, channel in enumerate(order)}
            for item, order in orders.items()
        }
        self._computed: dict[ir.Value, list[tuple[ir.Value, int]]] = {}

    def wanted(self, value: ir.Value, channels: Sequence[Channel]) -> list[tuple[ir.Value, int]]:
        """Returns where to take what ``value`` is to hold: value and place, in its order."""
        order = self._orders.get(self._classes[value], range(len(channels)))
        chosen = [channels[index] for index in order]
        return [
            (item, self._places.get(self._classes[item], {}).get(index, index))
            for item, index in chosen
        ]

    def computed(self, routing: Routing, value: ir.Value) -> list[tuple[ir.Value, int]]:
        """Returns what the nodes in front of ``value`` compute if they stay as they are."""
        if value in self._computed:
            return self._computed[value]
        route = routing.routes[value]
        inner = {
            item: self.computed(routing, item)
            for item in dict.fromkeys(channel.value for channel in route.channels)
            if item in routing.routes and item not in routing.real
        }
        self._computed[value] = [
            inner[item][index] if item in inner else (item, index) for item, index in route.channels
        ]
        return self._computed[value]


def _pieces(places: Sequence[tuple[ir.Value, int]]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for value, place in places:
        last = pieces[-1] if pieces else None
        if last is not None and last.value is value and last.end == place:
            pieces[-1] = last._replace(end=place + 1)
        else:
            pieces.append(Piece(value, place, place + 1))
    return tuple(pieces)
