"""The factor and offset per channel that take one model's value to another's.

    found[c] ≈ factor[c] · wanted[c] + offset[c],   factor[c] > 0

by least squares over samples and places, from the sums of both, their squares and their product.
Channels lie along axis 1. Noise in ``found`` does not bias the factor, as ``wanted`` has none.
"""

from __future__ import annotations

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
        self._sums: npt.NDArray[np.float64] | None = None

    def add(self, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
        """Adds one sample; both arrays [N, C, …] of one shape."""
        axes = (0, *range(2, wanted.ndim))
        a, b = wanted.astype(np.float64), found.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.stack([x.sum(axis=axes) for x in (a, b, a * a, a * b)])
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += wanted.size // wanted.shape[1]

    def fit(self) -> ChannelFit:
        """Returns the fit; a channel that never varies, or goes the other way, keeps factor 1."""
        assert self._sums is not None, "there is a sample"
        a, b, aa, ab = self._sums / self._count
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            variance, covariance = aa - a * a, ab - a * b
            factor = covariance / variance
            sound = (variance > 1e-12 * aa) & (factor > 0) & np.isfinite(factor)
            factor = np.where(sound, factor, 1.0)
            offset = np.where(sound, b - factor * a, 0.0)
        return ChannelFit(factor, offset)


def _along(rank: int) -> tuple[int, ...]:
    return (1, -1, *[1] * (rank - 2))
