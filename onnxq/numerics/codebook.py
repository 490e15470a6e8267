"""Codebooks: the 16 integers of 8 bits, say, that serve a weight of 4-bit codes best.

Weights are not spread evenly: most are small, a few large. With codes in even steps a row either
clips the large ones or has few codes for the small ones. A codebook puts its levels where weights
are (Lloyd 1982, "Least squares quantization in PCM"; Han et al. 2016, "Deep Compression", section
3, cluster weights so). Here the levels are integers themselves, so that integer kernels multiply
them, and all rows of a weight share them: the scale of a row fits the row to them.

Of a weight w_k in row o with importance h_k, levels L and scales s minimise, by turns,

    Σ  h_k · (s_o · L(w_k / s_o) - w_k)²        L(x): the level next to x
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.numerics.grid import Codebook

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["GREATEST_LEVEL", "WORTH", "Coded", "fitted_codebook"]

GREATEST_LEVEL = 64
"""Magnitude that levels go up to: two products with codes of 8 bits fit 16 bits together, as
kernels without VNNI want it (``onnxq.numerics.pairs``). A level is off by at most 1/128 of it."""

WORTH = 0.1
"""Share of the error that a codebook must save: it is one more constant and node in the file."""

_TURNS = 6
_STEPS_OF_LLOYD = 30
_BINS = 4096
_LEAST_LEVELS = 2
# Density to this power is how levels are spread where there are many (Panter and Dite 1951).
_SPREAD = 1 / 3


class Coded(NamedTuple):
    """What a codebook needs beside it.

    Attributes:
        codebook: The levels, up to :data:`GREATEST_LEVEL`.
        scale: float32 [G, O, 1]; all alike where there is one for the weight.
    """

    codebook: Codebook
    scale: npt.NDArray[np.float32]


class _Binned(NamedTuple):
    """Numbers in bins, those without any left out.

    Attributes:
        mass: Importance of a bin's numbers.
        centre: Their mean.
    """

    mass: Array
    centre: Array

    @classmethod
    def of(cls, numbers: Array, mass: Array) -> _Binned:
        low = numbers.min()
        width = max(numbers.max() - low, 1e-30) / _BINS
        bins = np.minimum(((numbers - low) / width).astype(np.intp), _BINS - 1)
        total, sums = _sums(bins, mass, _BINS), _sums(bins, mass * numbers, _BINS)
        held = total > 0
        return cls(total[held], sums[held] / total[held])


def fitted_codebook(
    rows: npt.NDArray[np.floating],
    importance: npt.NDArray[np.floating],
    count: int,
    *,
    per_row: bool = True,
) -> Coded | None:
    """Returns the codebook, and the scale of each row.

    Args:
        rows: Weights, finite, [G, O, K].
        importance: Of each, not negative, of a shape that broadcasts to theirs.
        count: Of levels, at most.
        per_row: Whether every row has its own scale.

    Returns:
        None where one level would do.
    """
    weight = np.asarray(rows, np.float64)
    h = np.broadcast_to(np.asarray(importance, np.float64), weight.shape)
    axes = 2 if per_row else None
    size = _ratio((h * weight * weight).sum(axes, keepdims=True), h.sum(axes, keepdims=True))
    scale = np.where(size > 0, np.sqrt(size), 1.0)
    levels = None
    for _ in range(_TURNS):
        binned = _Binned.of((weight / scale).ravel(), (h * scale * scale).ravel())
        levels = _lloyd(binned, _spread(binned, count) if levels is None else levels)
        chosen = levels[np.searchsorted(_middles(levels), weight / scale)]
        fitted = _ratio(
            (h * chosen * weight).sum(axes, keepdims=True),
            (h * chosen * chosen).sum(axes, keepdims=True),
        )
        scale = np.where(fitted > 0, fitted, scale)
    assert levels is not None
    unit = np.abs(levels).max() / GREATEST_LEVEL
    whole = np.unique(np.rint(levels / unit)) if unit > 0 else levels[:1]
    if whole.size < _LEAST_LEVELS:
        return None
    scales = np.broadcast_to(scale * unit, (*weight.shape[:2], 1))
    return Coded(Codebook(whole.astype(np.int32)), scales.astype(np.float32))


def _spread(binned: _Binned, count: int) -> Array:
    """Returns levels to start from."""
    share = np.cumsum(binned.mass**_SPREAD)
    return np.interp((np.arange(count) + 0.5) / count, share / share[-1], binned.centre)


def _lloyd(binned: _Binned, levels: Array) -> Array:
    """Returns levels of which each is the mean of the numbers next to it."""
    for _ in range(_STEPS_OF_LLOYD):
        nearest = np.searchsorted(_middles(levels), binned.centre)
        mass = _sums(nearest, binned.mass, levels.size)
        sums = _sums(nearest, binned.mass * binned.centre, levels.size)
        moved = np.sort(np.where(mass > 0, _ratio(sums, mass), levels))
        if np.array_equal(moved, levels):
            break
        levels = moved
    return levels


def _sums(places: npt.NDArray[np.intp], numbers: Array, count: int) -> Array:
    """Returns the sum of the numbers at each place."""
    return np.asarray(np.bincount(places, numbers, count), np.float64)


def _middles(levels: Array) -> Array:
    return (levels[1:] + levels[:-1]) / 2


def _ratio(over: Array, under: Array) -> Array:
    """Returns the quotients, 0 where there is none."""
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)
