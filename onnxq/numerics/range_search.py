"""Quantization ranges from statistics: all data, percentiles, least Lp error, least divergence.

Every method returns a range [low, high] that holds zero, lies inside the problem's bounds, and
becomes scale and zero point through :func:`onnxq.numerics.affine.affine_params`. Clipping trades
a few large errors at the tails for a finer scale everywhere else; the exponent p says how much a
large error weighs (Choukroun et al., "Low-bit Quantization of Neural Networks for Efficient
Inference", 2019, for p = 2; Nagel et al., "A White Paper on Neural Network Quantization", 2021,
section 3.1, for the choice by search). What the Kullback-Leibler divergence measures says
:mod:`onnxq.numerics.divergence`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.numerics.divergence import divergence_function
from onnxq.numerics.range_error import RangeProblem, error_function

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    _Errors = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]

__all__ = ["FittedRange", "RangeProblem", "kl", "lp", "minmax", "mse", "percentile", "stretched"]

# Ranges down to 1/128 of the widest: beyond, a handful of outliers rule a whole value.
_FRACTIONS = np.geomspace(1.0, 1 / 128, 48)
_COARSE = np.append(np.geomspace(1.0, 1 / 128, 24), 0.0)
_ONE = np.ones(1)
_REFINEMENTS = 10
_ROUNDS = 2


class FittedRange(NamedTuple):
    """A range and what it costs.

    Attributes:
        low: Least real of the range, ≤ 0.
        high: Greatest real, ≥ 0.
        error: Mean error (mean |e|^p)^(1/p), in the unit of the value, or of what the function
            behind makes of it.
    """

    low: float
    high: float
    error: float


def minmax(problem: RangeProblem) -> FittedRange:
    """Returns the range of all data; its error is the root mean square (p = 2)."""
    low, high = problem.extremes
    return _at_two(problem, low, high)


def percentile(problem: RangeProblem, percent: float = 99.99) -> FittedRange:
    """Returns the range that leaves out (100 - percent) percent of the elements at either end.

    Args:
        problem: The value.
        percent: In (50, 100].

    Returns:
        The range; its error is the root mean square (p = 2).
    """
    low, high = problem.extremes
    share = percent / 100
    histogram = problem.stats.histogram
    low = max(low, min(histogram.quantile(1 - share), 0.0))
    high = min(high, max(histogram.quantile(share), 0.0))
    if problem.symmetric:
        high = max(-low, high)
        low = -high
    return _at_two(problem, low, high)


def mse(problem: RangeProblem) -> FittedRange:
    """Returns the range of least mean squared error."""
    return lp(problem, 2)


def lp(problem: RangeProblem, p: float) -> FittedRange:
    """Returns the range of least mean |e|^p; never worse than :func:`minmax` under that measure.

    Both ends shrink together first, then each in turn, on a geometric grid that is refined around
    its best point.

    Args:
        problem: The value.
        p: Exponent, positive; 2 for least squares, greater ones spare the tails.

    Returns:
        The range and its Lp error.
    """
    low, high = problem.extremes
    error = error_function(problem, p)

    def cut(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return error(*np.broadcast_arrays(np.multiply(a, low), np.multiply(b, high)))

    t, least = _scan(lambda t: cut(t, t), _FRACTIONS)
    if problem.symmetric or low == 0.0 or high == 0.0:
        return FittedRange(low * t, high * t, _root(least, p))
    a = b = t
    for _ in range(_ROUNDS):
        before = least
        b, least = _improve(partial(cut, a), b, least)
        a, least = _improve(partial(cut, b=b), a, least)
        if least >= before:
            break
    return FittedRange(low * a, high * b, _root(least, p))


def kl(problem: RangeProblem) -> FittedRange:
    """Returns the range of least divergence between the elements and what quantization leaves.

    The divergence has many local minima, so both ends are tried in all combinations of a geometric
    grid, which is refined around its best point.

    Args:
        problem: The value; the function behind it does not count.

    Returns:
        The range; its error is the root mean square (p = 2).
    """
    low, high = problem.extremes
    divergence = divergence_function(problem)
    below = _ONE if problem.symmetric or low == 0.0 else _FRACTIONS
    above = _ONE if high == 0.0 else _FRACTIONS
    a, b = (grid.reshape(-1) for grid in np.meshgrid(below, above))
    a, b = (b, b) if problem.symmetric else (a, b)
    at = int(divergence(a * low, b * high).argmin())
    finer = np.meshgrid(_around(below, a[at]), _around(above, b[at]))
    a, b = (np.append(ends, grid) for ends, grid in ((a[at], finer[0]), (b[at], finer[1])))
    a, b = (b, b) if problem.symmetric else (a, b)
    at = int(divergence(a * low, b * high).argmin())
    return _at_two(problem, float(a[at] * low), float(b[at] * high))


def stretched(problem: RangeProblem, found: FittedRange, factor: float) -> FittedRange:
    """Returns a range whose ends lie ``factor`` times as far from zero; its error is of p = 2."""
    return _at_two(problem, found.low * factor, found.high * factor)


def _around(fractions: npt.NDArray[np.float64], fraction: np.float64) -> npt.NDArray[np.float64]:
    """Returns a finer grid between the neighbours of ``fraction``; itself alone if it has none."""
    at = int((fractions == fraction).argmax())
    above, below = fractions[max(at - 1, 0)], fractions[min(at + 1, fractions.size - 1)]
    return np.unique(np.linspace(above, below, _REFINEMENTS + 2))


def _improve(error: _Errors, fraction: float, least: float) -> tuple[float, float]:
    found, lesser = _scan(error, _COARSE)
    return (found, lesser) if lesser < least else (fraction, least)


def _scan(error: _Errors, fractions: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Returns the best fraction, and its error, on the grid and then between its neighbours."""
    errors = error(fractions)
    at = int(errors.argmin())
    above, below = fractions[max(at - 1, 0)], fractions[min(at + 1, fractions.size - 1)]
    finer = np.linspace(above, below, _REFINEMENTS + 2)[1:-1]
    lesser = error(finer)
    if lesser.min() < errors[at]:
        return float(finer[lesser.argmin()]), float(lesser.min())
    return float(fractions[at]), float(errors[at])


def _at_two(problem: RangeProblem, low: float, high: float) -> FittedRange:
    """Returns a range with its root mean square error."""
    error = error_function(problem, 2)(np.array([low]), np.array([high]))
    return FittedRange(low, high, _root(float(error[0]), 2))


def _root(mean: float, p: float) -> float:
    return float(max(mean, 0.0) ** (1 / p))
