"""Channels put into clusters, each to be quantized with one scale.

A cluster is quantized with steps in proportion to its widest channel, and what reads channel c
passes that channel's noise on with the power energy_c. So the noise behind the reader is, up to a
factor,

    cost  =  Σ over clusters  (max of width_c in the cluster)² · (Σ of energy_c in the cluster)

Some best clustering consists of runs of the channels sorted by width: of two channels of which the
wider one lies in the narrower cluster, moving the narrower one there costs nothing. Dynamic
programming over the sorted channels finds it, as for one-dimensional k-means (Wang and Song 2011,
"Ckmeans.1d.dp", section 2): with best(j, n) the least cost of the first n channels in j clusters,

    best(j, n)  =  min over m < n of  best(j - 1, m) + width_n² · (energy_{m+1} + … + energy_n)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["cluster_channels"]


def cluster_channels(width: Array, energy: Array, count: int) -> npt.NDArray[np.int64]:
    """Returns the clustering of least cost, in at most ``count`` clusters.

    Args:
        width: float64 [C], C ≥ 1, at least 0: the range that each channel needs.
        energy: float64 [C], at least 0: how much of a channel's noise reaches the outputs.
        count: At least 1.

    Returns:
        int64 [C], the number of each channel's cluster, counted from the narrowest; a cluster that
        gains nothing stays empty and has no number.
    """
    order = np.argsort(width, kind="stable")
    square = np.square(width[order])
    total = np.concatenate([[0.0], np.cumsum(energy[order])])
    size = width.size
    best = np.concatenate([[0.0], square * total[1:]])
    splits: list[npt.NDArray[np.int64]] = []
    for _ in range(count - 1):
        # split[n] is where the last cluster of the first n channels begins; 0 means no split pays
        split, following = np.zeros(size + 1, np.int64), best.copy()
        for n in range(2, size + 1):
            costs = best[1:n] + square[n - 1] * (total[n] - total[1:n])
            at = int(costs.argmin())
            if costs[at] < best[n]:
                split[n], following[n] = at + 1, costs[at]
        splits.append(split)
        best = following
    return _labels(order, splits)


def _labels(
    order: npt.NDArray[np.int64], splits: list[npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    """Walks back through the splits and numbers the clusters from the narrowest."""
    end, begins = order.size, []
    for split in reversed(splits):
        if split[end]:
            begins.append(int(split[end]))
            end = int(split[end])
    labels = np.zeros(order.size, np.int64)
    for begin in begins:
        labels[order[begin:]] += 1
    return labels
