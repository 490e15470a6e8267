"""A layered drawing of a graph: who comes first stands above, lines run down.

As Sugiyama, Tagawa and Toda 1981, "Methods for Visual Understanding of Hierarchical System
Structures", in four steps:

1. layer = longest path from a node without inputs; such a node stands right above its first reader.
2. A line over several layers gets a point in each of those between.
3. Order within layers by the mean position of neighbours, layer by layer, down and up in turns.
4. Across: every item wants to be at the mean of its neighbours; at the end, one that follows
   another alone wants to be right below it. Within a layer, the places nearest to that (least
   squares) that keep order and distance are found by pooling adjacent violators, for x_i minus the
   widths before it only has to be monotone. Points of lines weigh more than nodes, so that lines
   get straight.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Drawn", "layered"]

_ROUNDS = 6
_POINT_WIDTH = 14.0
_POINT_WEIGHT = 4.0


@dataclass(frozen=True)
class Drawn:
    """Where nodes and lines are.

    Attributes:
        layers: Layer of each node, from 0.
        across: Place of each node's centre, in the unit of the widths, from 0.
        routes: (source, target) → places of the line in the layers between, from above.
        width: Greatest place, with half a node beside it.
    """

    layers: list[int]
    across: list[float]
    routes: dict[tuple[int, int], list[float]]
    width: float


def layered(inputs: Sequence[Iterable[int]], widths: Sequence[float]) -> Drawn:
    """Draws a graph.

    Args:
        inputs: For each node, the numbers of those that it reads; all are less than its own.
        widths: Width of each node, with the gap beside it.
    """
    edges = sorted({(source, node) for node, sources in enumerate(inputs) for source in sources})
    levels = _levels(len(widths), edges)
    items = _Items(list(levels), list(widths))
    chains = {edge: items.chain(*edge, levels) for edge in edges}
    items.settle()
    return Drawn(
        levels,
        items.across[: len(widths)],
        {edge: [items.across[i] for i in chain[1:-1]] for edge, chain in chains.items()},
        max((x + w / 2 for x, w in zip(items.across, items.widths, strict=True)), default=0.0),
    )


def _levels(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Step 1."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, node in edges:
        above[node].append(source)
        below[source].append(node)
    levels = [0] * count
    for node in range(count):
        levels[node] = max((levels[source] + 1 for source in above[node]), default=0)
    for node in range(count):
        if not above[node] and below[node]:
            levels[node] = min(levels[reader] for reader in below[node]) - 1
    return levels


@dataclass
class _Items:
    """Nodes, and the points of lines in the layers between."""

    level: list[int]
    widths: list[float]
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)
    across: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes = len(self.level)
        self.above = [[] for _ in self.level]
        self.below = [[] for _ in self.level]

    def chain(self, source: int, node: int, levels: Sequence[int]) -> list[int]:
        """Step 2: returns the items of a line, its ends included."""
        chain = [source]
        for level in range(levels[source] + 1, levels[node]):
            chain.append(len(self.level))
            self.level.append(level)
            self.widths.append(_POINT_WIDTH)
            self.above.append([])
            self.below.append([])
        chain.append(node)
        for upper, lower in itertools.pairwise(chain):
            self.below[upper].append(lower)
            self.above[lower].append(upper)
        return chain

    def settle(self) -> None:
        """Steps 3 and 4."""
        rows: list[list[int]] = [[] for _ in range(max(self.level, default=-1) + 1)]
        for item, level in enumerate(self.level):
            rows[level].append(item)
        self.across = [0.0] * len(self.level)
        for row in rows:
            self._spread(row, [float(place) for place in range(len(row))])
        for turn in range(_ROUNDS):
            down = turn % 2 == 0
            for row in rows if down else reversed(rows):
                wishes = {
                    item: self._wish(item, self.above if down else self.below) for item in row
                }
                row.sort(key=lambda item: wishes[item])
        near = [[*above, *below] for above, below in zip(self.above, self.below, strict=True)]
        for turn in range(_ROUNDS):
            for row in rows if turn % 2 == 0 else reversed(rows):
                self._spread(row, [self._wish(item, near) for item in row])
        for row in rows:
            self._spread(row, [self._straight(item) for item in row])
        least = min((x - w / 2 for x, w in zip(self.across, self.widths, strict=True)), default=0.0)
        self.across = [x - least for x in self.across]

    def _wish(self, item: int, near: Sequence[Sequence[int]]) -> float:
        others = near[item]
        if not others:
            return self.across[item]
        return sum(self.across[other] for other in others) / len(others)

    def _straight(self, item: int) -> float:
        leader = self.above[item][0] if len(self.above[item]) == 1 else item
        return self.across[leader if len(self.below[leader]) == 1 else item]

    def _spread(self, row: Sequence[int], wishes: Sequence[float]) -> None:
        """Step 4 for one layer."""
        offsets, total = [], 0.0
        for before, item in zip([None, *row], row, strict=False):
            total += 0.0 if before is None else (self.widths[before] + self.widths[item]) / 2
            offsets.append(total)
        free = [wish - offset for wish, offset in zip(wishes, offsets, strict=True)]
        weights = [1.0 if item < self.nodes else _POINT_WEIGHT for item in row]
        for item, place, offset in zip(row, _monotone(free, weights), offsets, strict=True):
            self.across[item] = place + offset


def _monotone(wishes: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Returns the numbers closest to ``wishes`` that never fall: pools of adjacent violators."""
    pools: list[tuple[float, float, int]] = []
    for wish, weight in zip(wishes, weights, strict=True):
        mean, mass, count = wish, weight, 1
        while pools and pools[-1][0] > mean:
            other, heavier, more = pools.pop()
            mean = (mean * mass + other * heavier) / (mass + heavier)
            mass, count = mass + heavier, count + more
        pools.append((mean, mass, count))
    return [mean for mean, _, count in pools for _ in range(count)]
