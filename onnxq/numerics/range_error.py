"""The error that a quantization range makes on a histogram, measured as a mean power |e|^p.

Without a function behind the value the error has a closed form. Inside a bin the elements count as
spread evenly, so with u = x / scale, k(u) = clip(round(u), k_min, k_max) and r = u - k(u)

    mean over [a, b) of |x - x̂|^p = scale^p · (F(b/scale) - F(a/scale)) / ((b - a)/scale),
    F(u) = k · 2 · 0.5^(p+1) / (p+1) + sign(r) · |r|^(p+1) / (p+1),

which holds for bins that are narrower or wider than the scale, inside and outside the range. With
a function f behind, the error is the mean of |f(x) - f(x̂)|^p over evenly spread points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxq.numerics.affine import affine_params

if TYPE_CHECKING:
    from onnxq.numerics.statistics import ValueStats

__all__ = ["Behind", "Errors", "RangeProblem", "error_function"]

Behind: TypeAlias = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
Errors: TypeAlias = Callable[
    [npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]
]

_POINTS_PER_BIN = 4
# A bin cut to less than this share of its width holds one repeated number, such as 6 after ReLU6.
_LEAST_WIDTH = 1e-3
# Beyond this many codes a table of f at every code is longer than the list of points.
_TABLE_CODES = 1024


@dataclass(frozen=True, slots=True, eq=False)
class RangeProblem:
    """A value that wants a range.

    Attributes:
        stats: Its statistics.
        codes: Least and greatest code; (-qmax, qmax) for a symmetric signed type.
        symmetric: The range must be [-m, m].
        bounds: The range stays inside; zero is always in the range. A value that feeds Clip(0, 6)
            has (0, 6): everything beyond is worth nothing.
        behind: Elementwise function through which all consumers see the value, float64 → float64
            of the same shape; None for none.
    """

    stats: ValueStats
    codes: tuple[int, int]
    symmetric: bool = False
    bounds: tuple[float, float] = (-np.inf, np.inf)
    behind: Behind | None = None

    @property
    def extremes(self) -> tuple[float, float]:
        """The widest range worth having: that of the data and zero, cut to the bounds."""
        low = max(min(self.stats.minimum, 0.0), min(self.bounds[0], 0.0))
        high = min(max(self.stats.maximum, 0.0), max(self.bounds[1], 0.0))
        if self.symmetric:
            high = max(-low, high)
            low = -high
        return low, high


def error_function(problem: RangeProblem, p: float) -> Errors:
    """Returns (lows [n], highs [n]) → [n]: mean of |e|^p over all elements, for each range used.

    Args:
        problem: The value.
        p: Exponent, positive.

    Returns:
        A function that quantizes as :func:`onnxq.numerics.affine.affine_params` would, with
        rounded zero point.
    """
    histogram = problem.stats.histogram
    if not histogram.counts.size:
        return lambda low, _high: np.zeros(low.shape)
    edges = _cut_edges(problem)
    if problem.behind is None:
        return _spread_error(problem, edges, p)
    return _point_error(problem, problem.behind, edges, p)


def _cut_edges(problem: RangeProblem) -> npt.NDArray[np.float64]:
    """Returns the bins' edges, the outer ones moved inward to the least and greatest element."""
    stats = problem.stats
    edges, least = stats.histogram.edges, stats.histogram.width * _LEAST_WIDTH
    edges[0] = min(max(edges[0], stats.minimum), edges[1] - least)
    edges[-1] = max(min(edges[-1], stats.maximum), edges[-2] + least)
    return edges


class _Grids(NamedTuple):
    """What is exactly represented under each of some ranges, float64 [n, 1] each.

    Attributes:
        scale: The scale.
        least: Least multiple of it that has a code.
        greatest: Greatest multiple.
    """

    scale: npt.NDArray[np.float64]
    least: npt.NDArray[np.float64]
    greatest: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, problem: RangeProblem, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
    ) -> Self:
        scale, zero_point = affine_params(low, high, problem.codes)
        ends = (np.float64(code) - zero_point[:, np.newaxis] for code in problem.codes)
        return cls(scale.astype(np.float64)[:, np.newaxis], *ends)


def _spread_error(problem: RangeProblem, edges: npt.NDArray[np.float64], p: float) -> Errors:
    density = problem.stats.histogram.counts / np.diff(edges) / problem.stats.histogram.total
    cell = 2 * 0.5 ** (p + 1)

    def errors(
        low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        grids = _Grids.of(problem, low, high)
        u = edges / grids.scale
        k = np.clip(np.rint(u), grids.least, grids.greatest)
        r = u - k
        integral = (k * cell + np.copysign(_power(np.abs(r), p + 1), r)) / (p + 1)
        return np.asarray((np.diff(integral) @ density) * grids.scale[:, 0] ** (p + 1))

    return errors


def _point_error(
    problem: RangeProblem, behind: Behind, edges: npt.NDArray[np.float64], p: float
) -> Errors:
    histogram = problem.stats.histogram
    filled = np.flatnonzero(histogram.counts)
    at = (np.arange(_POINTS_PER_BIN) + 0.5) / _POINTS_PER_BIN
    starts, widths = edges[filled, np.newaxis], np.diff(edges)[filled, np.newaxis]
    points = (starts + widths * at).reshape(-1)
    wanted = behind(points)
    weights = np.repeat(histogram.counts[filled], _POINTS_PER_BIN) / (
        _POINTS_PER_BIN * histogram.total
    )
    codes = np.arange(problem.codes[1] - problem.codes[0] + 1, dtype=np.float64)

    def errors(
        low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        grids = _Grids.of(problem, low, high)
        k = np.clip(np.rint(points / grids.scale), grids.least, grids.greatest)
        if codes.size <= _TABLE_CODES:
            table = behind((grids.least + codes) * grids.scale)
            found = np.take_along_axis(table, (k - grids.least).astype(np.intp), axis=1)
        else:
            found = behind(k * grids.scale)
        return np.asarray(_power(np.abs(wanted - found), p) @ weights)

    return errors


def _power(x: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    """Returns x ** exponent; by multiplication for a small whole exponent, ten times faster."""
    if exponent not in (1, 2, 3, 4, 5):
        return np.asarray(x**exponent)
    result = x
    for _ in range(int(exponent) - 1):
        result = result * x
    return result
