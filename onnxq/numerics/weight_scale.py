"""Symmetric scales for weights, whole or per channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from onnxq.numerics.affine import symmetric_scale

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["WeightMethod", "weight_scale"]

WeightMethod = Literal["minmax", "mse"]

_STEP = 0.02
_COARSE = np.arange(1.0, 0.19, -_STEP)
_FINE = np.linspace(-0.8, 0.8, 9) * _STEP
# Elements handled at once: a few arrays of this size fit the second-level cache.
_BLOCK = 32768


def weight_scale(
    weight: npt.NDArray[np.float32], axis: int | None, qmax: int, method: WeightMethod = "minmax"
) -> npt.NDArray[np.float32]:
    """Returns the scale that maps ``weight`` to codes in [-qmax, qmax].

    Args:
        weight: float32, finite, any shape.
        axis: Axis of the channels, each with its own scale; None for one scale.
        qmax: Greatest code, at least 1.
        method: "minmax" maps the greatest magnitude to ``qmax``; "mse" takes, among clipped
            ranges down to a fifth of it, the one of least squared error.

    Returns:
        float32, [weight.shape[axis]] or []; 1 for a channel of zeros.
    """
    kept = None if axis is None else axis % weight.ndim
    others = tuple(i for i in range(weight.ndim) if i != kept)
    # not the maximum of the magnitudes, which would be a second array as large as the weight
    high = weight.max(axis=others, initial=0.0)
    magnitude = np.atleast_1d(np.maximum(high, -weight.min(axis=others, initial=0.0)))
    magnitude = magnitude.astype(np.float64)
    if method == "mse":
        rows = np.moveaxis(weight, axis, 0) if axis is not None else weight[np.newaxis]
        rows = np.ascontiguousarray(rows.reshape(len(rows), -1), np.float32)
        step = max(1, _BLOCK // max(1, rows.shape[1]))
        for start in range(0, rows.shape[0], step):
            part = slice(start, start + step)
            magnitude[part] *= _best_fractions(rows[part], magnitude[part], qmax)
    scale = symmetric_scale(magnitude, qmax)
    return scale.reshape(()) if axis is None else scale


def _best_fractions(
    rows: npt.NDArray[np.float32], magnitude: npt.NDArray[np.float64], qmax: int
) -> npt.NDArray[np.float64]:
    """Returns, for each of the rows [n, k], the fraction of its magnitude of least error, [n]."""

    def least_of(
        candidates: list[npt.NDArray[np.float64]],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
        errors = [
            _square_errors(rows, symmetric_scale(magnitude * fractions, qmax), qmax)
            for fractions in candidates
        ]
        chosen = np.argmin(errors, axis=0)[np.newaxis]
        pick = np.take_along_axis
        return pick(np.array(candidates), chosen, 0)[0], pick(np.array(errors), chosen, 0)[0]

    best, least = least_of([np.full(rows.shape[0], fraction) for fraction in _COARSE])
    finer, lesser = least_of([np.minimum(best + shift, 1.0) for shift in _FINE])
    return np.where(lesser < least, finer, best)


def _square_errors(
    rows: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], qmax: int
) -> npt.NDArray[np.float32]:
    column = scale[:, np.newaxis]
    error = np.rint(rows / column)
    np.clip(error, -qmax, qmax, out=error)
    error *= column
    error -= rows
    return np.asarray(np.vecdot(error, error))
