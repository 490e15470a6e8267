"""Scales of weights of few bits, by search: the largest magnitudes are clipped where that pays.

Of a row of weights w_k with importance h_k, the scale s minimises

    Σ_k  h_k · |s · clip(round(w_k / s), low, high) - w_k|^p        p = 2 unless told otherwise

With h_k the mean square of the input that w_k multiplies, that is the output error of a layer whose
inputs are not correlated. The search tries scales from the one that clips nothing downwards, then
refines the best: with the codes q_k fixed, s = Σ h_k w_k q_k / Σ h_k q_k² is optimal, and rounding
anew with it never makes the error larger. Exponents other than 2 have no such optimum: for them,
scales near the best one are tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.affine import symmetric_scale

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["searched_block_scale", "searched_scale"]

# Parts of the range that clips nothing; the optimum of normal rows lies within at 2 bits and more.
_FRACTIONS = np.geomspace(1.0, 0.06, 32)
_REFINEMENTS = 4
_NEARBY = (0.955, 0.97, 0.985, 1.015, 1.03, 1.045)
# What is seen little on the samples must not count for nothing.
_LEAST_IMPORTANCE = 0.01
# Elements handled at once: a few arrays of this size fit the second-level cache.
_BLOCK = 32768


def searched_scale(
    weight: npt.NDArray[np.float32],
    axis: int | None,
    limits: tuple[int, int],
    importance: npt.NDArray[np.floating] | None = None,
    p: float = 2.0,
) -> npt.NDArray[np.float32]:
    """Returns the scale of least error.

    Args:
        weight: float32, finite, any shape.
        axis: Axis of the channels, each with its own scale; None for one scale.
        limits: Least and greatest code, with 0 between them.
        importance: Of each weight, at least 0, of a shape that broadcasts to the weight's; None =
            all are alike.
        p: Exponent of the error, positive.

    Returns:
        float32, [weight.shape[axis]] or []; 1 for a channel of zeros.
    """
    rows = _rows(weight, axis)
    counts = None
    if importance is not None:
        floor = _LEAST_IMPORTANCE * float(np.mean(importance))
        given = np.maximum(np.asarray(importance, np.float32), max(floor, 1e-30))
        counts = _rows(np.broadcast_to(given / given.max(), weight.shape), axis)
    scale = _of_rows(rows, limits, counts, p)
    return np.asarray(scale[0], np.float32) if axis is None else scale


def searched_block_scale(
    weight: npt.NDArray[np.float32], axis: int, size: int, limits: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Returns a scale of least error for every ``size`` consecutive indices of ``axis``.

    Returns:
        float32, the weight's shape with the number of blocks on ``axis``; the last may be shorter.
    """
    last = np.moveaxis(weight, axis, -1)
    missing = -last.shape[-1] % size
    padded = np.pad(last, [(0, 0)] * (last.ndim - 1) + [(0, missing)])
    scale = _of_rows(padded.reshape(-1, size), limits, None)
    shape = (*last.shape[:-1], padded.shape[-1] // size)
    return np.ascontiguousarray(np.moveaxis(scale.reshape(shape), -1, axis))


def _rows(array: npt.NDArray[np.float32], axis: int | None) -> npt.NDArray[np.float32]:
    first = array[np.newaxis] if axis is None else np.moveaxis(array, axis, 0)
    return np.ascontiguousarray(first.reshape(len(first), -1), np.float32)


def _of_rows(
    rows: npt.NDArray[np.float32],
    limits: tuple[int, int],
    importance: npt.NDArray[np.float32] | None,
    p: float = 2.0,
) -> npt.NDArray[np.float32]:
    scale = np.empty(len(rows), np.float32)
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        counts = None if importance is None else importance[part]
        scale[part] = _best(rows[part], limits, counts, p)
    return scale


def _best(
    rows: npt.NDArray[np.float32],
    limits: tuple[int, int],
    importance: npt.NDArray[np.float32] | None,
    p: float,
) -> npt.NDArray[np.float32]:
    """Returns the scale of each of the rows [n, k], float32 [n]."""
    widest = np.maximum(rows.max(1, initial=0.0), -rows.min(1, initial=0.0))
    found = symmetric_scale(widest, limits[1])
    least = np.full(len(rows), np.inf)

    def keep_better(scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        codes = np.asarray(np.clip(np.rint(rows / scale[:, np.newaxis]), *limits), np.float32)
        error = codes * scale[:, np.newaxis] - rows
        power = error if p == 2 else np.abs(error) ** np.float32(p / 2)
        errors = np.vecdot(power if importance is None else power * importance, power)
        better = errors < least
        found[better], least[better] = scale[better], errors[better]
        return codes

    for fraction in _FRACTIONS:
        keep_better(symmetric_scale(widest * fraction, limits[1]))
    scale = found.copy()
    if p != 2:
        for factor in _NEARBY:
            keep_better(np.asarray(scale * factor, np.float32))
        return found
    for _ in range(_REFINEMENTS):
        codes = keep_better(scale)
        weighted = codes if importance is None else codes * importance
        against, power = np.vecdot(weighted, rows), np.vecdot(weighted, codes)
        known = (against > 0) & (power > 0)
        scale = np.where(known, against / np.where(known, power, 1), scale).astype(np.float32)
    keep_better(scale)
    return found
