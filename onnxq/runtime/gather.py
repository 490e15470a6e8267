"""Statistics of one value, gathered array by array."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.numerics.histogram import Histogram, subsample
from onnxq.numerics.moments import Moments
from onnxq.numerics.statistics import ValueStats

if TYPE_CHECKING:
    from types import EllipsisType

    import numpy.typing as npt

__all__ = ["Gatherer", "NotFiniteError", "default_channel_axis"]

# Elements that the histogram takes from one array.
_SAMPLED = 4096
# Fewer elements than this wait for company: reducing many arrays at once costs what one does.
_BATCH = 16384


def default_channel_axis(rank: int) -> int | None:
    """Returns the axis that holds the channels of a value of ``rank`` dimensions, if any."""
    if rank <= 1:
        return None
    return 2 if rank == 3 else 1


class NotFiniteError(Exception):
    """An array holds NaN or infinity.

    Attributes:
        value: Name of the value.
        sample: Number of the sample.
    """

    def __init__(self, value: str, sample: int) -> None:
        super().__init__(value, sample)
        self.value = value
        self.sample = sample


@dataclass(slots=True)
class Gatherer:
    """What has been seen of one value, in constant memory.

    Attributes:
        name: The value.
        axis: Its channel axis, None for none, ... to choose by :func:`default_channel_axis`.
    """

    name: str
    axis: int | EllipsisType | None = ...
    _moments: Moments | None = None
    _moments_axis: int | None = None
    _histogram: Histogram = field(default_factory=Histogram.empty)
    _waiting: list[tuple[int, npt.NDArray[np.float32]]] = field(default_factory=list)
    _elements: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def add(self, array: npt.NDArray[Any], sample: int) -> None:
        """Adds an array; anything but floating point is ignored.

        Args:
            array: The value's elements for one sample; not kept.
            sample: The sample's number, for the error.

        Raises:
            NotFiniteError: This or an earlier array holds NaN or infinity.
        """
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.size:
            return
        x = array.astype(np.float32, copy=False)
        if self._waiting and self._waiting[0][1].shape != x.shape:
            self._reduce()
        if (len(self._waiting) + 1) * x.size >= _BATCH:
            self._waiting.append((sample, x))
            self._reduce()
        else:
            # A copy, since holding on to onnxruntime's memory makes its arena grow and run slower.
            self._waiting.append((sample, x.copy()))

    def stats(self) -> ValueStats | None:
        """Returns the statistics of all arrays, or None if no element was seen.

        Raises:
            NotFiniteError: An array holds NaN or infinity.
        """
        self._reduce()
        self._count()
        if self._moments is None:
            return None
        if self._moments_axis is None:
            return ValueStats(self._moments, self._histogram)
        overall = self._moments.overall()
        return ValueStats(overall, self._histogram, self._moments_axis, self._moments)

    def _reduce(self) -> None:
        if not self._waiting:
            return
        arrays = [array for _, array in self._waiting]
        axis = self._channel_axis(arrays[0].ndim)
        moments = Moments.of(_join(arrays, axis), axis)
        if not moments.finite:
            sample = next(n for n, array in self._waiting if not np.isfinite(array).all())
            raise NotFiniteError(self.name, sample)
        if self._moments is None:
            self._moments, self._moments_axis = moments, axis
        else:
            if axis != self._moments_axis:
                self._moments, moments = self._moments.overall(), moments.overall()
            self._moments = self._moments.merge(moments)
            self._moments_axis = axis if self._moments.minimum.ndim else None
        self._elements.extend(subsample(array, _SAMPLED) for array in arrays)
        self._waiting.clear()
        if sum(array.size for array in self._elements) >= _BATCH:
            self._count()
        else:
            self._elements[-1] = self._elements[-1].copy()

    def _count(self) -> None:
        if self._elements:
            self._histogram = self._histogram.add(np.concatenate(self._elements))
            self._elements.clear()

    def _channel_axis(self, rank: int) -> int | None:
        axis = default_channel_axis(rank) if self.axis is ... else self.axis
        return axis % rank if axis is not None and -rank <= axis < rank else None


def _join(arrays: list[npt.NDArray[np.float32]], axis: int | None) -> npt.NDArray[np.float32]:
    """Returns the arrays, all of one shape, as one that keeps the channels on ``axis``."""
    if len(arrays) == 1:
        return arrays[0]
    if axis is None:
        return np.stack(arrays)
    return np.concatenate(arrays, axis=0 if axis == arrays[0].ndim - 1 else -1)
