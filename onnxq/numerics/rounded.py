"""Codes and scales of a layer's weight from the second moments of what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.numerics.adaround import adaround
from onnxq.numerics.codebook import WORTH, fitted_codebook
from onnxq.numerics.damped import Damped
from onnxq.numerics.grid import Codebook, Range
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

    from onnxq.numerics.codebook import Coded
    from onnxq.numerics.grid import Grid
    from onnxq.numerics.second_moments import SecondMoments

    Array = npt.NDArray[np.floating]

__all__ = ["METHODS", "Rounded", "Wanted", "rounded"]

METHODS = ("gptq+cd", "gptq", "adaround")
"""Names of the ways to round by second moments."""

# An output that is hardly explained at all is not to be blown up.
_MOST_RESTORED = 1.5
# What samples leave open is not all: they may not be quite like those to come.
_DAMPING = 0.1


class Rounded(NamedTuple):
    """A weight as integers.

    Attributes:
        codes: int32 [G, O, K].
        scale: float32 [G, O, 1].
        before: Squared output error of rounding the weight itself to the nearest, over outputs.
        after: Squared output error of these codes, over outputs.
        levels: Of the codebook, where the codes are from one.
    """

    codes: npt.NDArray[np.int32]
    scale: Array
    before: float
    after: float
    levels: npt.NDArray[np.int32] | None = None


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

        The solution explains what x̂ can, so that its outputs vary less than the float layer's.
        Layer by layer a model would say what it says ever more faintly, and scores of a detector
        sink below their threshold. So each row of W' is made large enough for its output to vary
        as it does in the float model, where ``moments`` knows that; never smaller.

        Args:
            weight: What multiplies x, [G, O, K].
            anchor: What would multiply x̂ if it had no errors, [G, O, K].
            moments: Of x and x̂.
            centred: Whether the layer has a bias, which makes up for the means.
        """
        weight, anchor = (np.asarray(array, np.float32) for array in (weight, anchor))
        hessian, cross = moments.matrices(centred=centred)
        damped = Damped(hessian, _DAMPING + moments.doubt)
        target = least_squares_target(weight, anchor, damped, cross)
        power = moments.output_power(centred=centred)
        if power is not None:
            target = target * _restored(target, hessian, power)
        return cls(target, anchor, damped)


def _restored(target: Array, hessian: Array, power: npt.NDArray[np.float64]) -> Array:
    """Returns what rows of W' are to be multiplied by, float32 [G, O, 1].

    Args:
        target: W', [G, O, K].
        hessian: H, [G, K, K].
        power: Of the float layer's outputs, [G, O].
    """
    found = ((target @ hessian) * target).sum(axis=2, dtype=np.float64)
    gain = np.sqrt(np.divide(power, found, out=np.ones_like(power), where=found > 0))
    return np.asarray(np.clip(gain, 1, _MOST_RESTORED)[..., np.newaxis], np.float32)


def rounded(  # noqa: PLR0913 (all but two are named at the call)
    wanted: Wanted,
    limits: tuple[int, int],
    *,
    per_row: bool = True,
    least_scale: npt.NDArray[np.floating] | float = 0.0,
    method: str = "gptq+cd",
    codebook: bool = False,
) -> Rounded:
    """Returns the codes whose output comes closest to the float layer's.

    Args:
        wanted: What they are to come close to.
        limits: Least and greatest code.
        per_row: Whether every output has its own scale.
        least_scale: No scale may be smaller, broadcasts to [G, O, 1].
        method: One of :data:`METHODS`.
        codebook: Whether codes may be as many others, from a codebook; not for "adaround".
    """
    target, anchor, damped = wanted
    least = np.asarray(least_scale, np.float32)
    even = Range(*limits)
    scale = np.maximum(_scale(target, damped, limits, per_row=per_row), least)
    plain = even.nearest(anchor / scale) * scale
    before = float(output_error(plain, target, damped.matrix).sum())
    if method == "adaround":
        best = _Best(even, scale, wanted)
        best.take(adaround(target, damped.matrix, scale, limits), scale)
    else:
        best = _by_gptq(wanted, even, scale)
        if codebook and (coded := _coded(wanted, even, per_row=per_row)) is not None:
            other = _by_gptq(wanted, coded.codebook, np.maximum(coded.scale, least))
            best = other if other.total < (1 - WORTH) * best.total else best
    if method == "gptq+cd":
        _descend(best, least, per_row=per_row)
    levels = best.grid.levels if isinstance(best.grid, Codebook) else None
    return Rounded(best.codes, best.scale, before, best.total, levels)


def _coded(wanted: Wanted, even: Range, *, per_row: bool) -> Coded | None:
    """Returns a codebook with as many levels as the range has integers."""
    count = even.high - even.low + 1
    return fitted_codebook(wanted.target, _importance(wanted.damped), count, per_row=per_row)


def _by_gptq(wanted: Wanted, grid: Grid, scale: Array) -> _Best:
    best = _Best(grid, scale, wanted)
    best.take(gptq(wanted.target, wanted.damped, scale, grid), scale)
    return best


def _descend(best: _Best, least: Array, *, per_row: bool) -> None:
    """Improves codes by coordinate descent, before and after the scales are fitted to them."""
    target, damped = best.wanted.target, best.wanted.damped
    scale = best.scale
    codes = coordinate_descent(best.codes, target, damped.matrix, scale, best.grid)
    best.take(codes, scale)
    if per_row:
        fitted = fitted_scale(codes, target, damped.matrix)
        scale = np.maximum(np.where(np.isnan(fitted), scale, fitted), least)
        codes = coordinate_descent(codes, target, damped.matrix, scale, best.grid)
        best.take(codes, scale)


class _Best:
    """The best codes of every output so far; at first the nearest.

    Attributes:
        wanted: What they are to come close to.
        grid: What they can be.
        codes: int32 [G, O, K].
        scale: float32 [G, O, 1].
        error: Of each output, [G, O].
    """

    def __init__(self, grid: Grid, scale: Array, wanted: Wanted) -> None:
        self.wanted, self.grid = wanted, grid
        self.codes = grid.nearest(wanted.target / scale).astype(np.int32)
        self.scale = np.broadcast_to(scale, (*self.codes.shape[:2], 1)).copy()
        self.error = self._error(self.codes, scale)

    @property
    def total(self) -> float:
        """The error of all outputs."""
        return float(self.error.sum())

    def take(self, codes: npt.NDArray[np.int32], scale: Array) -> None:
        """Takes over the outputs in which these codes are better."""
        error = self._error(codes, scale)
        better = error < self.error
        self.codes[better] = codes[better]
        self.scale[better] = np.broadcast_to(scale, self.scale.shape)[better]
        self.error[better] = error[better]

    def _error(self, codes: npt.NDArray[np.int32], scale: Array) -> Array:
        return output_error(codes * scale, self.wanted.target, self.wanted.damped.matrix)


def _importance(damped: Damped) -> Array:
    """Returns how much the error of a weight counts if inputs were not correlated, [G, 1, K]."""
    return damped.matrix.diagonal(axis1=1, axis2=2)[:, np.newaxis]


def _scale(target: Array, damped: Damped, limits: tuple[int, int], *, per_row: bool) -> Array:
    """Returns the scale of least error if inputs were not correlated, [G, O, 1]."""
    rows = target.reshape(-1, target.shape[2])
    importance = np.broadcast_to(_importance(damped), target.shape).reshape(rows.shape)
    scale = searched_scale(rows, 0 if per_row else None, limits, importance)
    return np.broadcast_to(scale.reshape(-1, 1), (len(rows), 1)).reshape(*target.shape[:2], 1)
