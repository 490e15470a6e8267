"""Histograms whose merge is exact: bins of width 2^exponent, anchored at zero.

Bin i covers [i · width, (i + 1) · width), so zero is always a bin boundary and doubling the width
joins bins in pairs without splitting any. The width is the least power of two (not below
2^:data:`LEAST_EXPONENT`) with which all elements fit into :data:`BINS` bins, counted from the
lowest through zero to the highest. It depends on the elements alone, not on their order, hence
merging is associative and commutative, bit for bit. Elements that are exactly zero are counted
apart: every affine quantization holds them without error, and ReLU makes many of them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["BINS", "DEFAULT_ELEMENTS", "LEAST_EXPONENT", "Histogram", "subsample"]

BINS = 2048
DEFAULT_ELEMENTS = 32768
LEAST_EXPONENT = -120
_BINS_LOG2 = 11
_CHUNK = 16384


def subsample(x: npt.NDArray[Any], max_elements: int = DEFAULT_ELEMENTS) -> npt.NDArray[Any]:
    """Returns at most ``max_elements`` of ``x``, evenly spread, always the same ones.

    The stride shares no factor with the size of ``x``, hence with none of its dimensions: it
    visits all channels, rows and columns alike instead of one of each.

    Args:
        x: Any shape.
        max_elements: At least 1.

    Returns:
        [n], a view where the memory layout allows.
    """
    flat = x.reshape(-1)
    if flat.size <= max_elements:
        return flat
    return flat[:: _stride(flat.size, max_elements)]


@functools.lru_cache(maxsize=1024)
def _stride(size: int, most: int) -> int:
    """Returns the least stride without a common factor that leaves no more than ``most``."""
    stride = -(-size // most)
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride


def _bins_needed(low: float, high: float, exponent: int) -> tuple[int, int]:
    """Returns how many bins of width 2^exponent [low, high] touches below and above zero."""
    below = -math.floor(math.ldexp(low, -exponent)) if low < 0 else 0
    above = math.floor(math.ldexp(high, -exponent)) + 1 if high > 0 else 0
    return below, above


def _least_exponent(low: float, high: float) -> int:
    span = max(high, 0.0) - min(low, 0.0)
    exponent = max(LEAST_EXPONENT, math.frexp(span)[1] - _BINS_LOG2 - 1)
    while sum(_bins_needed(low, high, exponent)) > BINS:
        exponent += 1
    return exponent


def _coarsen(
    counts: npt.NDArray[np.int64], below: int, doublings: int
) -> tuple[npt.NDArray[np.int64], int]:
    """Returns counts and number of bins below zero after doubling the width ``doublings`` times."""
    if not doublings or not counts.size:
        return counts, below
    group = 1 << min(doublings, _BINS_LOG2)
    above = counts.size - below
    padded = np.pad(counts, (-below % group, -above % group))
    return padded.reshape(-1, group).sum(axis=1), -(-below // group)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How often elements fall into each bin. Adding and merging return new histograms.

    Attributes:
        counts: int64, [n], n ≤ BINS; the first bin below zero and the last above are not empty.
        below: How many of the bins lie below zero; bin j starts at (j - below) · width.
        exponent: log2 of the bin width.
        zeros: How many elements are exactly zero; they are in no bin.
    """

    counts: npt.NDArray[np.int64]
    below: int = 0
    exponent: int = LEAST_EXPONENT
    zeros: int = 0

    @classmethod
    def empty(cls) -> Self:
        """Returns the histogram of no elements, neutral in :meth:`merge`."""
        return cls(np.zeros(0, np.int64))

    @classmethod
    def of(cls, x: npt.NDArray[Any], least_exponent: int = LEAST_EXPONENT) -> Self:
        """Returns the histogram of ``x``.

        Args:
            x: Real and finite, any shape; read as float32.
            least_exponent: Bins at least 2^least_exponent wide, for a merge with wider ones.

        Returns:
            The histogram; constant memory beside ``x``.
        """
        flat = np.ascontiguousarray(x, np.float32).reshape(-1)
        if not flat.size:
            return cls.empty()
        low, high = float(flat.min()), float(flat.max())
        if low == high == 0.0:
            return cls(np.zeros(0, np.int64), zeros=flat.size)
        exponent = max(_least_exponent(low, high), least_exponent)
        below, above = _bins_needed(low, high, exponent)
        counts = np.zeros(below + above + 1, np.int64)
        scale = np.float32(math.ldexp(1.0, -exponent))
        for start in range(0, flat.size, _CHUNK):
            chunk = flat[start : start + _CHUNK] * scale
            np.floor(chunk, out=chunk)
            chunk += np.float32(below)
            counts += np.bincount(chunk.astype(np.int32), minlength=counts.size)
        if low < 0:
            # Negative elements so small beside the width that scaling made them -0.
            vanished = int(np.count_nonzero(flat < 0)) - int(counts[:below].sum())
            counts[below - 1] += vanished
            counts[below] -= vanished
        zeros = int(np.count_nonzero(flat == 0)) if low <= 0 <= high else 0
        counts[below] -= zeros
        return cls(counts[:-1], below, exponent, zeros)

    def add(self, x: npt.NDArray[Any], max_elements: int | None = None) -> Self:
        """Returns this histogram with the elements of ``x`` added.

        Args:
            x: Real and finite, any shape.
            max_elements: Take a :func:`subsample` of this many; None takes all.

        Returns:
            A new histogram.
        """
        taken = x if max_elements is None else subsample(x, max_elements)
        return self.merge(type(self).of(taken, self.exponent))

    def merge(self, other: Self) -> Self:
        """Returns the histogram of the elements of both."""
        zeros = self.zeros + other.zeros
        if not self.counts.size or not other.counts.size:
            base = self if self.counts.size else other
            return type(self)(base.counts, base.below, base.exponent, zeros)
        exponent = max(self.exponent, other.exponent)
        while True:
            mine, my_below = _coarsen(self.counts, self.below, exponent - self.exponent)
            theirs, their_below = _coarsen(other.counts, other.below, exponent - other.exponent)
            below = max(my_below, their_below)
            size = below + max(mine.size - my_below, theirs.size - their_below)
            if size <= BINS:
                break
            exponent += 1
        counts = np.zeros(size, np.int64)
        counts[below - my_below : below - my_below + mine.size] += mine
        counts[below - their_below : below - their_below + theirs.size] += theirs
        return type(self)(counts, below, exponent, zeros)

    @property
    def width(self) -> float:
        """Width of a bin."""
        return math.ldexp(1.0, self.exponent)

    @property
    def total(self) -> int:
        """Number of elements, zeros included."""
        return int(self.counts.sum()) + self.zeros

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """float64, [n + 1]: ``edges[j]`` and ``edges[j + 1]`` bound bin j."""
        return (np.arange(self.counts.size + 1, dtype=np.float64) - self.below) * self.width

    def quantile(self, share: float) -> float:
        """Returns x such that ``share`` ∈ [0, 1] of the elements lie at or below it.

        Elements count as spread evenly over their bin.
        """
        negative = int(self.counts[: self.below].sum())
        rank = share * self.total
        if negative < rank <= negative + self.zeros or not self.counts.size:
            return 0.0
        rank -= self.zeros if rank > negative else 0
        ranks = np.concatenate([[0], np.cumsum(self.counts)])
        return float(np.interp(rank, ranks, self.edges))

    def share_below(self, x: float) -> float:
        """Returns the share of the elements that are less than ``x``, in [0, 1].

        Elements count as spread evenly over their bin.
        """
        ranks = np.concatenate([[0], np.cumsum(self.counts)])
        found = float(np.interp(x, self.edges, ranks)) if self.counts.size else 0.0
        return (found + (self.zeros if x > 0 else 0)) / max(1, self.total)

    def coarser(self, bins: int) -> Self:
        """Returns the same in at most ``bins`` bins, or in the fewest that have zero on an edge.

        Args:
            bins: 2 or more.
        """
        counts, below, exponent = self.counts, self.below, self.exponent
        while counts.size > max(2, bins):
            counts, below = _coarsen(counts, below, 1)
            exponent += 1
        return type(self)(counts, below, exponent, self.zeros)

    def same_as(self, other: Self) -> bool:
        """Returns whether both hold the same counts over the same bins."""
        return (self.below, self.exponent, self.zeros) == (
            other.below,
            other.exponent,
            other.zeros,
        ) and np.array_equal(self.counts, other.counts)
