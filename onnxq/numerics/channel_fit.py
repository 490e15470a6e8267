"""The factor and offset per channel that take one model's value to another's.

    found[c] ≈ factor[c] · wanted[c] + offset[c],   factor[c] > 0

by least squares over samples and places, from the sums of both, their squares and their product.
Channels lie along axis 1. Noise in ``found`` does not bias the factor, as ``wanted`` has none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ChannelFit", "FitSums"]


class ChannelFit(NamedTuple):
    """Factors and offsets.

    Attributes:
        factor: float64 [C], above 0.
        offset: float64 [C].
    """

    factor: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    def forward(self, wanted: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns ``wanted`` [N, C, …] in the other model's terms, in its own dtype."""
        shape = _along(wanted.ndim)
        moved = wanted * self.factor.reshape(shape) + self.offset.reshape(shape)
        return np.asarray(moved, wanted.dtype)

    def back(self, found: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Returns ``found`` [N, C, …] in the first model's terms."""
        shape = _along(found.ndim)
        return np.asarray((found - self.offset.reshape(shape)) / self.factor.reshape(shape))


class FitSums:
    """What the fit needs, added up sample by sample."""

    def __init__(self) -> None:
        self._count = 0
        self._lowest = math.inf
        self._sums: npt.NDArray[np.float64] | None = None

    def add(self, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
        """Adds one sample; both arrays [N, C, …] of one shape."""
        axes = (0, *range(2, wanted.ndim))
        a, b = wanted.astype(np.float64), found.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.stack([x.sum(axis=axes) for x in (a, b, a * a, a * b, b * b)])
        self._sums = sums if self._sums is None else self._sums + sums
        self._lowest = min(self._lowest, float(wanted.min(initial=math.inf)))
        self._count += wanted.size // wanted.shape[1]

    def fit(self, factor: npt.NDArray[np.float64] | None = None) -> ChannelFit:
        """Returns the fit; a channel that never varies, or goes the other way, keeps factor 1.

        Args:
            factor: Factors [C] that are known; then the offsets alone are fitted, or are 0 if
                ``wanted`` was never negative: what ends at zero is not moved.
        """
        a, b, aa, ab, _ = self._means()
        if factor is not None:
            return ChannelFit(factor, np.zeros_like(a) if self._lowest >= 0 else b - factor * a)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            variance, covariance = aa - a * a, ab - a * b
            factor = covariance / variance
            sound = (variance > 1e-12 * aa) & (factor > 0) & np.isfinite(factor)
            factor = np.where(sound, factor, 1.0)
            offset = np.where(sound, b - factor * a, 0.0)
        return ChannelFit(factor, offset)

    def decibels(self, fit: ChannelFit) -> float:
        """Returns the SQNR of all samples after scaling back, to about 100 dB."""
        a, b, aa, ab, bb = self._means()
        f, o = fit
        with np.errstate(invalid="ignore"):
            noise = bb + f * f * aa + o * o - 2 * f * ab - 2 * o * b + 2 * f * o * a
            ratio = float((np.maximum(noise, 0) / (f * f)).sum() / max(float(aa.sum()), 1e-300))
        return -10 * math.log10(max(ratio, 1e-10)) if not math.isnan(ratio) else math.nan

    def _means(self) -> npt.NDArray[np.float64]:
        assert self._sums is not None, "there is a sample"
        return self._sums / self._count


def _along(rank: int) -> tuple[int, ...]:
    return (1, -1, *[1] * (rank - 2))
