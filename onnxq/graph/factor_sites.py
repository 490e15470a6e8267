"""Groups of factors that are chosen together: those of channels read or written at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from onnxq.graph.channel_factors import FactoredLayer

    Indices = npt.NDArray[np.int64]

__all__ = ["FactorSite", "factor_sites"]


class FactorSite(NamedTuple):
    """Factors that are chosen together.

    Attributes:
        numbers: Which, int64, ascending.
        readers: The linear layers that read the channels that carry them.
        writers: Those that write them.
    """

    numbers: Indices
    readers: tuple[FactoredLayer, ...]
    writers: tuple[FactoredLayer, ...]

    def local(self, carries: Indices) -> Indices:
        """Returns the place in :attr:`numbers` of each of ``carries``; -1 for what is not there."""
        at = np.searchsorted(self.numbers, carries).clip(max=self.numbers.size - 1)
        return np.where(self.numbers[at] == carries, at, -1)


def factor_sites(
    layers: Sequence[FactoredLayer], others: Iterable[Indices], count: int
) -> list[FactorSite]:
    """Returns the sites of a graph, by the first layer that reads each.

    Args:
        layers: The linear layers that factors touch, in the graph's order.
        others: Sets of factors that one constant carries.
        count: How many factors there are.
    """
    sets = [carries for layer in layers for carries in (layer.reads, layer.writes)]
    label = _labels([*sets, *others], count)
    readers: dict[int, list[FactoredLayer]] = {}
    writers: dict[int, list[FactoredLayer]] = {}
    for layer in layers:
        for found, carries in ((readers, layer.reads), (writers, layer.writes)):
            if carries.max() >= 0:
                found.setdefault(int(label[carries.max()]), []).append(layer)
    return [
        FactorSite(np.flatnonzero(label == number), tuple(read), tuple(writers.get(number, ())))
        for number, read in readers.items()
    ]


def _labels(sets: Iterable[Indices], count: int) -> Indices:
    """Returns a label for each factor, the same for those that are in a set together."""
    starts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for carries in sets:
        inside = np.unique(carries[carries >= 0])
        starts.append(inside[:-1])
        ends.append(inside[1:])
    pairs = np.concatenate(starts), np.concatenate(ends)
    edges = coo_array((np.ones(pairs[0].size), pairs), shape=(count, count))
    _, label = connected_components(edges, directed=False)
    return np.asarray(label, np.int64)
