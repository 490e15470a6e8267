"""The integers that the codes of a weight can be: all between two, or the few of a codebook."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.floating]

__all__ = ["Codebook", "Grid", "Range"]


class Grid(Protocol):
    """See the module."""

    def nearest(self, x: Array) -> Array:
        """Returns the code next to each number, in the type of ``x``."""


class Range(NamedTuple):
    """All integers between two.

    Attributes:
        low: The least.
        high: The greatest.
    """

    low: int
    high: int

    def nearest(self, x: Array) -> Array:
        """See :class:`Grid`."""
        return np.asarray(np.clip(np.rint(x), self.low, self.high))


class Codebook:
    """Some integers, such as 16 for a weight whose codes are stored in 4 bits.

    Attributes:
        levels: int32, rising, at least two.
    """

    def __init__(self, levels: npt.NDArray[np.int32]) -> None:
        self.levels = levels

    def nearest(self, x: Array) -> Array:
        """See :class:`Grid`; of two that are as near, the lower one."""
        return self._floats[np.searchsorted(self._middles, x)].astype(x.dtype)

    @cached_property
    def _floats(self) -> Array:
        return self.levels.astype(np.float32)

    @cached_property
    def _middles(self) -> Array:
        return (self._floats[1:] + self._floats[:-1]) / 2
