"""What is known of a model's values after seeing data: range, moments and a histogram each.

All of it merges: the statistics of two parts of the data give those of the whole, in any order
and grouping. Range and histogram merge exactly, the sums behind the moments up to float64
rounding.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from onnxq.errors import DataError
from onnxq.numerics.histogram import Histogram
from onnxq.numerics.moments import Moments
from onnxq.numerics.stats_file import read_arrays, write_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["Stats", "ValueStats"]

_FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class ValueStats:
    """Statistics of one value.

    Attributes:
        moments: Over all elements, entries of shape [].
        histogram: Of a subsample; see :func:`onnxq.numerics.histogram.subsample`.
        channel_axis: Axis that ``channels`` runs along, not negative; None without channels.
        channels: Per channel, entries of shape [C], or None.
    """

    moments: Moments
    histogram: Histogram
    channel_axis: int | None = None
    channels: Moments | None = None

    @classmethod
    def of(
        cls, x: npt.NDArray[Any], axis: int | None = None, max_elements: int | None = None
    ) -> Self:
        """Returns the statistics of ``x``.

        Args:
            x: Real and finite, at least one element, any shape; read as float32.
            axis: Axis of the channels, negative from the end; None for none.
            max_elements: Size of the subsample behind the histogram; None takes every element.

        Returns:
            The statistics.
        """
        x = np.asarray(x, np.float32)
        channels = Moments.of(x, axis)
        histogram = Histogram.empty().add(x, max_elements)
        if axis is None:
            return cls(channels, histogram)
        return cls(channels.overall(), histogram, axis % x.ndim, channels)

    @property
    def count(self) -> int:
        """Number of elements seen."""
        return self.moments.count

    @property
    def minimum(self) -> float:
        """Least element seen."""
        return float(self.moments.minimum)

    @property
    def maximum(self) -> float:
        """Greatest element seen."""
        return float(self.moments.maximum)

    @property
    def mean(self) -> float:
        """Mean of the elements."""
        return float(self.moments.mean)

    @property
    def second_moment(self) -> float:
        """Mean of the squared elements: the value's power."""
        return float(self.moments.second_moment)

    @property
    def std(self) -> float:
        """Standard deviation of the elements."""
        return float(self.moments.std)

    def merge(self, other: Self) -> Self:
        """Returns the statistics of both parts; channels are lost if their layouts differ."""
        moments = self.moments.merge(other.moments)
        histogram = self.histogram.merge(other.histogram)
        mine, theirs = self.channels, other.channels
        if (
            mine is None
            or theirs is None
            or self.channel_axis != other.channel_axis
            or mine.minimum.shape != theirs.minimum.shape
        ):
            return type(self)(moments, histogram)
        return type(self)(moments, histogram, self.channel_axis, mine.merge(theirs))


@dataclass(frozen=True, eq=False)
class Stats:
    """Statistics of a model's values.

    Attributes:
        values: Value name → statistics.
        samples: Number of samples seen.
    """

    values: Mapping[str, ValueStats] = field(default_factory=dict)
    samples: int = 0

    def __getitem__(self, name: str) -> ValueStats:
        return self.values[name]

    def __contains__(self, name: object) -> bool:
        return name in self.values

    def merge(self, other: Self) -> Self:
        """Returns the statistics over the samples of both."""
        values = dict(self.values)
        for name, theirs in other.values.items():
            values[name] = values[name].merge(theirs) if name in values else theirs
        return type(self)(values, self.samples + other.samples)

    def save(self, path: str | Path) -> None:
        """Writes the statistics to ``path`` (.npz), whole or not at all; same bytes every time.

        Raises:
            OutputError: The file cannot be written.
        """
        names = sorted(self.values)
        arrays: dict[str, npt.NDArray[Any]] = {
            "format": np.array([_FORMAT, self.samples], np.int64),
            "names": _text(names),
            **_pack_values([self.values[name] for name in names]),
        }
        write_arrays(Path(path), arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Returns the statistics that :meth:`save` wrote.

        Raises:
            DataError: The file is missing or holds no statistics of this version.
        """
        arrays = read_arrays(Path(path))
        try:
            version, samples = (int(number) for number in arrays["format"])
            if version != _FORMAT:
                raise DataError(f"{path} holds statistics of format {version}; observe anew")
            values = dict(zip(_names(arrays["names"]), _unpack_values(arrays), strict=True))
        except (KeyError, ValueError, IndexError) as error:
            raise DataError(f"{path} holds no statistics; give a file that onnxq saved") from error
        return cls(values, samples)


def _text(names: list[str]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(names).encode(), np.uint8)


def _names(text: npt.NDArray[np.uint8]) -> list[str]:
    return [str(name) for name in json.loads(text.tobytes())]


def _pack_values(values: list[ValueStats]) -> dict[str, npt.NDArray[Any]]:
    """Returns all values' statistics as a few long arrays, cut again by ``header``."""
    header, moments, counts = [], [np.zeros((4, 0))], [np.zeros(0, np.int64)]
    for value in values:
        channels = value.channels
        h = value.histogram
        header.append(
            [
                value.moments.count,
                -1 if value.channel_axis is None else value.channel_axis,
                0 if channels is None else channels.minimum.size,
                0 if channels is None else channels.count,
                h.counts.size,
                h.below,
                h.exponent,
                h.zeros,
            ]
        )
        moments.append(_columns(value.moments))
        if channels is not None:
            moments.append(_columns(channels))
        counts.append(h.counts)
    return {
        "header": np.array(header, np.int64).reshape(-1, 8),
        "moments": np.concatenate(moments, axis=1),
        "counts": np.concatenate(counts),
    }


def _columns(moments: Moments) -> npt.NDArray[np.float64]:
    rows = (moments.minimum, moments.maximum, moments.total, moments.square_total)
    return np.stack([row.reshape(-1) for row in rows])


def _unpack_values(arrays: Mapping[str, npt.NDArray[Any]]) -> list[ValueStats]:
    moments, counts = arrays["moments"], arrays["counts"]
    values = []
    for row in arrays["header"].tolist():
        count, axis, channel_count, channel_elements, bins, below, exponent, zeros = row
        overall = Moments(count, *(np.asarray(m[0]) for m in moments))
        channels = None
        if channel_count:
            channels = Moments(channel_elements, *(m[1 : 1 + channel_count] for m in moments))
        histogram = Histogram(counts[:bins], below, exponent, zeros)
        values.append(ValueStats(overall, histogram, None if axis < 0 else axis, channels))
        moments, counts = moments[:, 1 + channel_count :], counts[bins:]
    return values
