"""Codes and scales of a layer's weight from the second moments of what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.numerics.adaround import adaround
from onnxq.numerics.damped import Damped
from onnxq.numerics.rounding import (
    coordinate_descent,
    fitted_scale,
    gptq,
    least_squares_target,
    output_error,
)
from onnxq.numerics.scale_search import searched_scale

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.numerics.second_moments import SecondMoments

    Array = npt.NDArray[np.floating]

__all__ = ["METHODS", "Rounded", "Wanted", "rounded"]

METHODS = ("gptq+cd", "gptq", "adaround")
"""Names of the ways to round by second moments."""

# What samples leave open is not all: they may not be quite like those to come.
_DAMPING = 0.1


class Rounded(NamedTuple):
    """A weight as integers.

    Attributes:
        codes: int32 [G, O, K].
        scale: float32 [G, O, 1].
        before: Squared output error of rounding the weight itself to the nearest, over outputs.
        after: Squared output error of these codes, over outputs.
    """

    codes: npt.NDArray[np.int32]
    scale: Array
    before: float
    after: float


class Wanted(NamedTuple):
    """What a layer's codes, of however many bits, are to come close to.

    Attributes:
        target: W', float32 [G, O, K].
        anchor: What would multiply x̂ if it had no errors, float32 [G, O, K].
        damped: H + Λ.
    """

    target: Array
    anchor: Array
    damped: Damped

    @classmethod
    def of(cls, weight: Array, anchor: Array, moments: SecondMoments, *, centred: bool) -> Wanted:
        """Solves for W'.

        Args:
            weight: What multiplies x, [G, O, K].
            anchor: What would multiply x̂ if it had no errors, [G, O, K].
            moments: Of x and x̂.
            centred: Whether the layer has a bias, which makes up for the means.
        """
        weight, anchor = (np.asarray(array, np.float32) for array in (weight, anchor))
        hessian, cross = moments.matrices(centred=centred)
        damped = Damped(hessian, _DAMPING + moments.doubt)
        return cls(least_squares_target(weight, anchor, damped, cross), anchor, damped)


def rounded(
    wanted: Wanted,
    limits: tuple[int, int],
    *,
    per_row: bool = True,
    least_scale: npt.NDArray[np.floating] | float = 0.0,
    method: str = "gptq+cd",
) -> Rounded:
    """Returns the codes whose output comes closest to the float layer's.

    Args:
        wanted: What they are to come close to.
        limits: Least and greatest code.
        per_row: Whether every output has its own scale.
        least_scale: No scale may be smaller, broadcasts to [G, O, 1].
        method: One of :data:`METHODS`.
    """
    target, anchor, damped = wanted
    least = np.asarray(least_scale, np.float32)
    scale = np.maximum(_scale(target, damped, limits, per_row=per_row), least)
    nearest = np.clip(np.rint(target / scale), *limits).astype(np.int32)
    if method == "adaround":
        codes = adaround(target, damped.matrix, scale, limits)
    else:
        codes = gptq(target, damped, scale, limits)
    best = _Best(nearest, scale, target, damped.matrix)
    best.take(codes, scale)
    if method == "gptq+cd":
        codes = coordinate_descent(codes, target, damped.matrix, scale, limits)
        best.take(codes, scale)
        if per_row:
            fitted = fitted_scale(codes, target, damped.matrix)
            scale = np.maximum(np.where(np.isnan(fitted), scale, fitted), least)
            best.take(coordinate_descent(codes, target, damped.matrix, scale, limits), scale)
    plain = np.clip(np.rint(anchor / scale), *limits) * scale
    before = float(output_error(plain, target, damped.matrix).sum())
    return Rounded(best.codes, best.scale, before, float(best.error.sum()))


class _Best:
    """The best codes of every output so far."""

    def __init__(
        self, codes: npt.NDArray[np.int32], scale: Array, target: Array, hessian: Array
    ) -> None:
        self._target, self._hessian = target, hessian
        self.codes, self.scale = codes.copy(), np.broadcast_to(scale, (*codes.shape[:2], 1)).copy()
        self.error = output_error(codes * scale, target, hessian)

    def take(self, codes: npt.NDArray[np.int32], scale: Array) -> None:
        """Takes over the outputs in which these codes are better."""
        error = output_error(codes * scale, self._target, self._hessian)
        better = error < self.error
        self.codes[better] = codes[better]
        self.scale[better] = np.broadcast_to(scale, self.scale.shape)[better]
        self.error[better] = error[better]


def _scale(target: Array, damped: Damped, limits: tuple[int, int], *, per_row: bool) -> Array:
    """Returns the scale of least error if inputs were not correlated, [G, O, 1]."""
    diagonal = damped.matrix.diagonal(axis1=1, axis2=2)[:, np.newaxis]
    rows = target.reshape(-1, target.shape[2])
    importance = np.broadcast_to(diagonal, target.shape).reshape(rows.shape)
    scale = searched_scale(rows, 0 if per_row else None, limits, importance)
    return np.broadcast_to(scale.reshape(-1, 1), (len(rows), 1)).reshape(*target.shape[:2], 1)
