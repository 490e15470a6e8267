"""An order of channels in which those of similar size lie side by side.

Scales for blocks of channels serve blocks of similar channels best. A block of a weight's columns
(what multiplies one channel) has the step of its largest one, so columns are sorted by their
energy ‖W_c‖². Of what flows, only channels far from the others matter: clusters that
:mod:`onnxq.numerics.channel_clusters` finds, weighted by the same energy, come one after the other.

Source: RPTQ (Yuan et al. 2023, section 4.2), which sorts channels by clusters of their ranges, and
"Accurate Block Quantization in LLMs with Outliers" (Trukhanov and Soloveychik 2024, section 4),
which sorts channels by norm.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.channel_clusters import cluster_channels

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["channel_order"]

_TOLERANCE = 1e-4


def channel_order(
    energy: Array, width: Array | None, clusters: int, least_gain: float
) -> npt.NDArray[np.int64] | None:
    """Returns for every place the channel to be there.

    Args:
        energy: float64 [C], at least 0: how strongly each channel is read.
        width: float64 [C], at least 0: the range that each channel needs; None if unknown.
        clusters: Greatest number of clusters.
        least_gain: In dB; clusters that lower the noise by less do not count.

    Returns:
        int64 [C]; None where channels are in order already but for rounding errors.
    """
    cluster = np.zeros(energy.size, np.int64)
    if width is not None:
        found = cluster_channels(width, energy, clusters)
        if _gain(energy, width, found) >= least_gain:
            cluster = found
    ascends = energy[1:] >= energy[:-1] * (1 - _TOLERANCE)
    apart = cluster[1:] != cluster[:-1]
    if (np.diff(cluster) >= 0).all() and (ascends | apart).all():
        return None
    return np.lexsort([energy, cluster])


def _gain(energy: Array, width: Array, cluster: npt.NDArray[np.int64]) -> float:
    """Returns by how many dB the noise with a step for each cluster is below that with one."""
    count = int(cluster.max()) + 1
    whole = float(width.max() ** 2 * energy.sum())
    steps = np.array([width[cluster == number].max() for number in range(count)])
    apart = float((np.square(steps)[cluster] * energy).sum())
    return 10 * math.log10(whole / apart) if apart > 0 else 0.0
