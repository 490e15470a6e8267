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
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxq.numerics.affine import affine_params

if TYPE_CHECKING:
    from onnxq.numerics.statistics import ValueStats

__all__ = ["Behind", "RangeProblem", "error_function"]

Behind: TypeAlias = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]

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


def error_function(problem: RangeProblem, p: float) -> Callable[[float, float], float]:
    """Returns (low, high) → mean of |e|^p over all elements when that range is used.

    Args:
        problem: The value.
        p: Exponent, positive.

    Returns:
        A function that quantizes as :func:`onnxq.numerics.affine.affine_params` would, with
        rounded zero point.
    """
    histogram = problem.stats.histogram
    if not histogram.counts.size:
        return lambda _low, _high: 0.0
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


def _grid(problem: RangeProblem, low: float, high: float) -> tuple[float, int, int]:
    """Returns the scale, and the least and greatest multiple of it that has a code."""
    scale, zero_point = affine_params(low, high, problem.codes)
    return float(scale), problem.codes[0] - int(zero_point), problem.codes[1] - int(zero_point)


def _spread_error(
    problem: RangeProblem, edges: npt.NDArray[np.float64], p: float
) -> Callable[[float, float], float]:
    density = problem.stats.histogram.counts / np.diff(edges) / problem.stats.histogram.total
    cell = 2 * 0.5 ** (p + 1)

    def error(low: float, high: float) -> float:
        scale, least, greatest = _grid(problem, low, high)
        u = edges / scale
        k = np.clip(np.rint(u), least, greatest)
        r = u - k
        integral = (k * cell + np.copysign(_power(np.abs(r), p + 1), r)) / (p + 1)
        return float(density @ np.diff(integral) * scale ** (p + 1))

    return error


def _point_error(
    problem: RangeProblem, behind: Behind, edges: npt.NDArray[np.float64], p: float
) -> Callable[[float, float], float]:
    histogram = problem.stats.histogram
    filled = np.flatnonzero(histogram.counts)
    at = (np.arange(_POINTS_PER_BIN) + 0.5) / _POINTS_PER_BIN
    starts, widths = edges[filled, np.newaxis], np.diff(edges)[filled, np.newaxis]
    points = (starts + widths * at).reshape(-1)
    wanted = behind(points)
    weights = np.repeat(histogram.counts[filled], _POINTS_PER_BIN) / (
        _POINTS_PER_BIN * histogram.total
    )

    def error(low: float, high: float) -> float:
        scale, least, greatest = _grid(problem, low, high)
        k = np.clip(np.rint(points / scale), least, greatest)
        if greatest - least < _TABLE_CODES:
            table = behind(np.arange(least, greatest + 1, dtype=np.float64) * scale)
            found = table[(k - least).astype(np.intp)]
        else:
            found = behind(k * scale)
        return float(weights @ _power(np.abs(wanted - found), p))

    return error


def _power(x: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    """Returns x ** exponent; by multiplication for a small whole exponent, ten times faster."""
    if exponent not in (1, 2, 3, 4, 5):
        return np.asarray(x**exponent)
    result = x
    for _ in range(int(exponent) - 1):
        result = result * x
    return result
