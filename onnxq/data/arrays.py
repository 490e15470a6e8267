"""Samples from arrays with one row per sample: .npy, .npz, folders of them, arrays in memory."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING

from onnxq.data.base import DataSource, Feed
from onnxq.data.fit import check_dtype, fixed_batch, match_names, shape_text, stacked_shape, to_feed
from onnxq.data.grouping import grouped
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from onnxq.data.base import InputSpec
    from onnxq.data.npz_stream import Rows


class ArraySource(DataSource):
    """One array per input, its first axis counting samples (rules in `onnxq.data.fit`)."""

    def __init__(self, where: str, arrays: Mapping[str, Rows], inputs: Sequence[InputSpec]) -> None:
        """Checks names, shapes and dtypes; values are checked as they are read.

        Args:
            where: What to call the data in errors and in the report.
            arrays: Array name → rows.
            inputs: Inputs of the model.

        Raises:
            DataError: An array is missing, superfluous, or fits no input.
        """
        self._where = where
        self._inputs = inputs
        self._batch = fixed_batch(inputs)
        self._names = match_names(where, arrays, inputs)
        self._rows: dict[str, Rows] = {}
        for spec in inputs:
            rows = arrays[self._names[spec.name]]
            label = f"{where}: array '{self._names[spec.name]}'"
            check_dtype(label, rows.dtype, spec)
            shape = stacked_shape(label, rows.shape, spec, self._batch)
            self._rows[spec.name] = rows if shape == rows.shape else rows.with_shape(shape)
        self._check_counts()
        self._leading = self._leading_size()

    def _check_counts(self) -> None:
        counts = {name: rows.shape[0] for name, rows in self._rows.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{count} for '{name}'" for name, count in counts.items())
            raise DataError(
                f"{self._where} holds unequal numbers of samples: {listed};"
                " save the same number for every input"
            )

    def _leading_size(self) -> int:
        sizes = [
            rows.shape[1] if len(rows.shape) > len(spec.shape) and spec.shape else 1
            for spec, rows in zip(self._inputs, self._rows.values(), strict=True)
        ]
        if self._batch > 1 and len(set(sizes)) > 1:
            raise DataError(
                f"{self._where} mixes single samples with whole batches of {self._batch};"
                " save every input the same way"
            )
        return sizes[0]

    def __len__(self) -> int:
        """Number of samples."""
        return next(iter(self._rows.values())).shape[0]

    @property
    def samples_per_feed(self) -> int:
        """Leading size of the first input's arrays."""
        return self._leading

    def describe(self) -> str:
        """One line: where, how many samples, what arrays."""
        held = ", ".join(
            f"{name} {rows.dtype} {shape_text(rows.shape)}" for name, rows in self._rows.items()
        )
        return f"{self._where}: {len(self)} samples ({held})"

    def feeds(self, indices: Sequence[int]) -> Iterator[Feed]:
        """Yields the samples at `indices`; see `DataSource.feeds`."""
        streams = [rows.rows(indices) for rows in self._rows.values()]
        for index, rows in zip(indices, zip(*streams, strict=True), strict=True):
            yield {
                spec.name: to_feed(self._label(spec, index), row, spec, self._batch)
                for spec, row in zip(self._inputs, rows, strict=True)
            }

    def _label(self, spec: InputSpec, index: int) -> str:
        return f"{self._where}: array '{self._names[spec.name]}', sample {index}"


class ConcatSource(DataSource):
    """Several sources, one behind the other."""

    def __init__(
        self, where: str, parts: Sequence[DataSource], folders: Sequence[Hashable] = ()
    ) -> None:
        """Joins at least one source.

        Args:
            where: What to call the data in errors and in the report.
            parts: The sources, in order.
            folders: The sub-folder of each part; left out if there are none.

        Raises:
            DataError: Some hold single samples and others batches.
        """
        self._where = where
        self._parts = parts
        self._folders = folders
        self._ends = list(itertools.accumulate(len(part) for part in parts))
        if len({part.samples_per_feed for part in parts}) > 1:
            raise DataError(
                f"{where}: some files hold single samples and others batches;"
                " save all files the same way"
            )

    def __len__(self) -> int:
        """Number of samples in all parts."""
        return self._ends[-1]

    @property
    def samples_per_feed(self) -> int:
        """Leading size of the arrays in one feed."""
        return self._parts[0].samples_per_feed

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """Numbers of the samples of each sub-folder."""
        if not self._folders:
            return [range(len(self))]
        lengths = (len(part) for part in self._parts)
        return grouped(itertools.chain.from_iterable(map(itertools.repeat, self._folders, lengths)))

    def describe(self) -> str:
        """One line: where, how many samples in how many files."""
        return f"{self._where}: {len(self)} samples in {len(self._parts)} files"

    def feeds(self, indices: Sequence[int]) -> Iterator[Feed]:
        """Yields the samples at `indices`; see `DataSource.feeds`."""
        runs = itertools.groupby(indices, key=lambda index: bisect_right(self._ends, index))
        for place, run in runs:
            start = self._ends[place - 1] if place else 0
            yield from self._parts[place].feeds([index - start for index in run])
