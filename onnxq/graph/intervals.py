"""Intervals of integers, in which no number can lie outside its type unseen.

An interval is a pair of arrays of Python integers, which know no overflow, that broadcast with the
value from the right, as in ONNX: one pair for the whole value, or one per channel where constants
make channels differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Ends = npt.NDArray[np.object_]

__all__ = ["Interval", "UnprovenError", "of_type"]


class UnprovenError(Exception):
    """Why a bound cannot be proven, in words."""


class Interval(NamedTuple):
    """Least and greatest values, object arrays of Python integers of equal shape."""

    low: Ends
    high: Ends

    @classmethod
    def of(cls, low: Any, high: Any) -> Interval:  # noqa: ANN401 - anything that numpy reads
        """Makes one of integers or integer arrays."""
        ends = np.broadcast_arrays(np.asarray(low, object), np.asarray(high, object))
        return cls(*ends)

    @property
    def least(self) -> int:
        """The least number in all."""
        return min(map(int, self.low.flat), default=0)

    @property
    def greatest(self) -> int:
        """The greatest number in all."""
        return max(map(int, self.high.flat), default=0)

    def hull(self) -> Interval:
        """Returns one interval that holds all."""
        return Interval.of(self.least, self.greatest)

    def within(self, other: Interval) -> bool:
        """Whether all of it lies in the hull of ``other``."""
        return other.least <= self.least and self.greatest <= other.greatest


def of_type(dtype: ir.DataType) -> Interval:
    """Returns what an integer type holds."""
    if dtype.numpy() == np.bool_:
        return Interval.of(0, 1)
    info = np.iinfo(dtype.numpy())
    return Interval.of(int(info.min), int(info.max))
