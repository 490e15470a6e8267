"""How far quantized elements are distributed from what they were: Kullback-Leibler divergence.

After Migacz, "8-bit Inference with TensorRT", 2017, for ranges with any two ends. With P the
histogram's counts inside the range, those beyond added to the outermost bin of their side, and Q
the counts inside, spread evenly over the non-empty bins that one code stands for,

    D(P ‖ Q) = Σ p · log(p / q),   p = P / ΣP,   q = Q / ΣQ.

Too wide a range joins many bins in one code, too narrow a one lacks in Q what P holds at its ends.
A code without elements of its own counts as half a one, so that D stays finite. Elements that are
exactly zero are left out: every range holds them.

Codes are runs of bins, so with running sums of counts c, of c · log c and of non-empty bins, the
sum over bins becomes one over codes, and a thousand ranges take little more time than one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.numerics.affine import affine_params

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.numerics.range_error import Errors, RangeProblem

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

__all__ = ["divergence_function"]

_HALF_ELEMENT = 0.5
# Ranges at once: what they need stays in the cache.
_CHUNK = 256


def divergence_function(problem: RangeProblem) -> Errors:
    """Returns (lows [n], highs [n]) → [n]: D(P ‖ Q) in nats for each range used.

    A range with fewer bins than codes has an infinite divergence: the histogram does not show what
    quantization does there.

    Args:
        problem: The value; what is behind it does not count.
    """
    histogram = problem.stats.histogram
    if not histogram.counts.size:
        return lambda low, _high: np.zeros(low.shape)
    sums = _Sums.of(histogram.counts)
    below, width = histogram.below, histogram.width

    def divergences(low: Floats, high: Floats) -> Floats:
        scale, zero_point = affine_params(low, high, problem.codes)
        steps = scale.astype(np.float64)[:, np.newaxis] / width
        codes = np.arange(problem.codes[0], problem.codes[1] + 2)
        # the first bin whose centre rounds to each code, and the end of the last
        ends = (codes - zero_point[:, np.newaxis] - 0.5) * steps + (below - 0.5)
        edges = np.clip(np.ceil(ends), 0, histogram.counts.size).astype(np.int64)
        found = _divergence(sums, edges)
        return np.where(steps[:, 0] * (1 + 1e-6) < 1, np.inf, found)

    def errors(low: Floats, high: Floats) -> Floats:
        low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        starts = range(0, low.size, _CHUNK)
        parts = [divergences(low[i : i + _CHUNK], high[i : i + _CHUNK]) for i in starts]
        return np.concatenate(parts)

    return errors


class _Sums(NamedTuple):
    """Running sums over n bins, float64 [n + 1] each, the first entry 0."""

    counts: Floats
    logs: Floats
    filled: Floats

    @classmethod
    def of(cls, counts: npt.NDArray[np.int64]) -> _Sums:
        c = counts.astype(np.float64)
        return cls(*(np.concatenate([[0.0], np.cumsum(x)]) for x in (c, _log(c), c > 0)))


def _log(x: Floats) -> Floats:
    """Returns x · log x, 0 at 0."""
    return np.asarray(x * np.log(np.where(x > 0, x, 1.0)))


def _divergence(sums: _Sums, edges: Indices) -> Floats:
    """Returns D [n] for codes that begin at the bins ``edges`` [n, codes + 1]."""
    first, end = edges[:, 0], edges[:, -1]
    total = sums.counts[-1]
    own = np.diff(sums.counts[edges])
    wanted, filled = own.copy(), np.diff(sums.filled[edges])
    logs = sums.logs[end] - sums.logs[first]
    for bins, beyond in ((first, sums.counts[first]), (end - 1, total - sums.counts[end])):
        outermost = np.clip(bins, 0, sums.counts.size - 2)
        count = sums.counts[outermost + 1] - sums.counts[outermost]
        at = np.arange(len(edges)), _code_of(edges, outermost)
        wanted[at] += beyond
        filled[at] += (count == 0) & (beyond > 0)
        logs += _log(count + beyond) - _log(count)
    taken = np.where((wanted > 0) & (own < _HALF_ELEMENT), _HALF_ELEMENT, own)
    even = np.where(wanted > 0, taken / np.maximum(filled, 1.0), 1.0)
    cross = (wanted * np.log(even)).sum(axis=1)
    return np.asarray((logs - cross) / total - np.log(total) + np.log(taken.sum(axis=1)))


def _code_of(edges: Indices, bins: Indices) -> Indices:
    """Returns which code each row's bin belongs to."""
    code = (edges[:, 1:] <= bins[:, np.newaxis]).sum(axis=1)
    return np.asarray(np.minimum(code, edges.shape[1] - 2))
