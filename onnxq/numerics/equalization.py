"""Factors that bring the weight ranges of a channel's writers and readers to the same size.

A channel that is multiplied by f has its writers' rows multiplied by f and its readers' columns by
1 / f. With P the greatest magnitude in the rows and Q that in the columns, f = sqrt(Q / P) makes
both sqrt(P · Q) (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", equation 11). All channels take a part of that step together, again and again, since
every layer stands between two of them. A factor with a greatest value goes no further than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

__all__ = ["LayerMagnitudes", "equalizing_factors"]

# Neighbouring channels pull a layer's weight both ways: full steps would never settle, and without
# momentum a chain of n layers would take n² rounds.
_STEP, _MOMENTUM = 0.4, 0.7
_ROUNDS = 400
# Greatest |log f| that is still to be done when the search ends, and without which it begins.
_SETTLED, _EVEN = 0.02, 0.05
# A channel whose two ranges are further apart is next to dead, and stays as it is.
_LEAST = 1e-6


class LayerMagnitudes(NamedTuple):
    """The greatest magnitude of a layer's weight for each pair of channels.

    Attributes:
        table: float64 [groups, out_channels per group, in_channels per group].
        reads: Number of each input channel's factor, int64 [in_channels]; -1 for none.
        writes: Number of each output channel's factor, int64 [out_channels]; -1 for none.
    """

    table: Array
    reads: Indices
    writes: Indices


def equalizing_factors(
    layers: Sequence[LayerMagnitudes], count: int, limits: Array | None = None
) -> Array:
    """Returns the factors that equalize the ranges of ``layers``.

    Args:
        layers: The layers.
        count: How many factors there are.
        limits: The greatest value of each, at least 1, float64 [count]; None for no limit.

    Returns:
        float64 [count], positive; 1 for channels that are next to dead, and 1 for all where the
        ranges are even already, or as even as the limits allow.
    """
    written, read = _ranges(layers, np.ones(count))
    alive = np.minimum(written, read) > _LEAST * np.maximum(written, read)
    logs, moved = np.zeros(count), np.zeros(count)
    most = np.full(count, np.inf) if limits is None else np.log(limits)
    for number in range(_ROUNDS):
        written, read = _ranges(layers, np.exp(logs))
        missing = np.log(np.divide(read, written, out=np.ones(count), where=alive)) / 2
        missing = np.minimum(missing, most - logs)
        if np.abs(missing).max(initial=0.0) < (_SETTLED if number else _EVEN):
            break
        moved = np.minimum(_MOMENTUM * moved + _STEP * missing, most - logs)
        logs += moved
    return np.exp(logs)


def _ranges(layers: Sequence[LayerMagnitudes], factors: Array) -> tuple[Array, Array]:
    """Returns the greatest magnitude with which each channel is written, and is read."""
    # The last entry is what the number -1 stands for.
    known = np.append(factors, 1.0)
    written, read = np.zeros(known.size), np.zeros(known.size)
    for table, reads, writes in layers:
        groups, outputs, inputs = table.shape
        rows = known[writes].reshape(groups, outputs, 1)
        columns = known[reads].reshape(groups, 1, inputs)
        scaled = table * rows / columns
        np.maximum.at(written, writes, scaled.max(axis=2).reshape(-1))
        np.maximum.at(read, reads, scaled.max(axis=1).reshape(-1))
    return written[:-1], read[:-1]
