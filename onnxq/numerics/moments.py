"""Range and first two moments of a set of numbers, overall or per channel.

Merging is exact for the range and, for the sums behind the moments, exact up to float64 rounding.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Moments"]

# Larger sums of squares come near the end of float32's range.
_SAFE_SQUARES = 1e24


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Range and first two moments, float64, of one value ([]) or of each of its channels ([C]).

    Attributes:
        count: Elements behind each entry.
        minimum: Least element.
        maximum: Greatest element.
        total: Sum of the elements.
        square_total: Sum of their squares.
    """

    count: int
    minimum: npt.NDArray[np.float64]
    maximum: npt.NDArray[np.float64]
    total: npt.NDArray[np.float64]
    square_total: npt.NDArray[np.float64]

    @classmethod
    def of(cls, x: npt.NDArray[np.float32], axis: int | None) -> Self:
        """Returns the moments of ``x``, per index of ``axis`` or over all elements.

        Args:
            x: float32, any shape with at least one element. NaN and infinity show in ``minimum``
                or ``maximum``.
            axis: Axis of the channels, negative from the end; None for none.

        Returns:
            Moments with entries of shape [x.shape[axis]] or [].
        """
        if axis is None:
            outer, channels = 1, 1
        else:
            at = axis % x.ndim
            channels = x.shape[at]
            outer = math.prod(x.shape[:at])
        inner = x.size // (outer * channels)
        moments = cls(outer * inner, *_reduce(x.reshape(outer, channels, inner)))
        return moments.overall() if axis is None else moments

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of the elements."""
        return np.asarray(self.total / max(1, self.count))

    @property
    def second_moment(self) -> npt.NDArray[np.float64]:
        """Mean of the squared elements."""
        return np.asarray(self.square_total / max(1, self.count))

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Standard deviation of the elements (divided by n)."""
        return np.sqrt(np.maximum(self.second_moment - np.square(self.mean), 0.0))

    @property
    def magnitude(self) -> npt.NDArray[np.float64]:
        """Greatest absolute element."""
        return np.maximum(np.abs(self.minimum), np.abs(self.maximum))

    @property
    def finite(self) -> bool:
        """Whether no element is NaN or infinite: in float64 no float32's square is too large."""
        return math.isfinite(float(self.square_total.sum()))

    def overall(self) -> Self:
        """Returns the moments over all channels, entries of shape []."""
        return type(self)(
            self.count * self.minimum.size,
            np.asarray(self.minimum.min()),
            np.asarray(self.maximum.max()),
            np.asarray(self.total.sum()),
            np.asarray(self.square_total.sum()),
        )

    def merge(self, other: Self) -> Self:
        """Returns the moments of both parts; overall ones if the numbers of channels differ."""
        if self.minimum.shape != other.minimum.shape:
            return self.overall().merge(other.overall())
        return type(self)(
            self.count + other.count,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            np.asarray(self.total + other.total),
            np.asarray(self.square_total + other.square_total),
        )


def _reduce(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Returns min, max, sum and sum of squares, [4, C], of ``x`` [outer, C, inner]."""
    if x.shape[2] == 1:
        found = _reduce_columns(x[:, :, 0]).astype(np.float64)
    else:
        rows = x.swapaxes(0, 1).reshape(x.shape[1], -1)
        found = _reduce_rows(rows).astype(np.float64)
    if not found[3].max() < _SAFE_SQUARES:
        elements = x.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            found[2] = elements.sum(axis=(0, 2))
            found[3] = np.square(elements).sum(axis=(0, 2))
    return found


def _reduce_rows(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns min, max, sum and sum of squares, [4, rows], of ``x`` [rows, inner].

    Sums run in float32 by BLAS, which keeps many partial sums and is twice as fast as numpy's.
    """
    found = np.empty((4, x.shape[0]), np.float32)
    np.minimum.reduce(x, axis=1, out=found[0])
    np.maximum.reduce(x, axis=1, out=found[1])
    with np.errstate(invalid="ignore", over="ignore"):
        np.vecdot(x, _ones(x.shape[1]), out=found[2])
        np.vecdot(x, x, out=found[3])
    return found


def _reduce_columns(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns min, max, sum and sum of squares, [4, C], of ``x`` [outer, C]: channels last."""
    with np.errstate(invalid="ignore", over="ignore"):
        squares = np.einsum("oc,oc->c", x, x)
        return np.stack([x.min(axis=0), x.max(axis=0), x.sum(axis=0), squares])


@functools.lru_cache(maxsize=64)
def _ones(size: int) -> npt.NDArray[np.float32]:
    return np.ones(size, np.float32)
