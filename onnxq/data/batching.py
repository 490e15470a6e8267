"""Groups consecutive samples for a model that fixes a batch above 1."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.data.base import DataSource, Feed
from onnxq.data.fit import fixed_batch, shape_text
from onnxq.data.grouping import grouped
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from onnxq.data.base import InputSpec, Picture


def batched(source: DataSource, inputs: Sequence[InputSpec]) -> DataSource:
    """Groups samples if the model fixes a larger batch than the source delivers.

    Args:
        source: Any source.
        inputs: Inputs of the model.

    Returns:
        `source` itself, or a source whose every sample is one full batch.

    Raises:
        DataError: There are fewer samples than one batch takes.
    """
    batch = fixed_batch(inputs)
    return source if source.samples_per_feed == batch or batch == 1 else BatchSource(source, batch)


class BatchSource(DataSource):
    """Batches of consecutive samples; the remainder that fills no batch is dropped."""

    def __init__(self, source: DataSource, batch: int) -> None:
        """Groups `source`.

        Args:
            source: Single samples.
            batch: Samples in a batch.

        Raises:
            DataError: There are fewer samples than one batch takes.
        """
        if len(source) < batch:
            raise DataError(
                f"{source.describe()}: too few, the model fixes a batch of {batch};"
                f" give at least {batch} samples"
            )
        self._source = source
        self._batch = batch

    def __len__(self) -> int:
        """Number of full batches."""
        return len(self._source) // self._batch

    @property
    def samples_per_feed(self) -> int:
        """Samples in a batch."""
        return self._batch

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """Numbers of the batches that begin in each sub-folder."""
        groups = self._source.groups
        if len(groups) == 1:
            return [range(len(self))]
        home = {index: place for place, group in enumerate(groups) for index in group}
        return grouped(home[batch * self._batch] for batch in range(len(self)))

    def pictures(self, index: int) -> Sequence[Picture]:
        """Those of the single samples; none where one is missing, as others then move up."""
        first = index * self._batch
        singles = [self._source.pictures(first + place) for place in range(self._batch)]
        return [picture for single in singles for picture in single] if all(singles) else ()

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """Files left out so far, as (file, reason)."""
        return self._source.skipped

    def describe(self) -> str:
        """One line: that of the single samples, how they are grouped, what is dropped."""
        line = f"{self._source.describe()}, in {len(self)} batches of {self._batch}"
        rest = len(self._source) % self._batch
        return f"{line}, the last {rest} dropped" if rest else line

    def feeds(self, indices: Sequence[int]) -> Iterator[Feed]:
        """Yields the batches at `indices`; see `DataSource.feeds`.

        Where a sample turns out unreadable, the following ones move up and the last batch that
        stays incomplete is left out.

        Raises:
            DataError: Samples of one batch differ in shape.
        """
        singles = [b * self._batch + place for b in indices for place in range(self._batch)]
        stream = self._source.feeds(singles)
        while len(group := list(itertools.islice(stream, self._batch))) == self._batch:
            yield {name: _joined(name, [feed[name] for feed in group]) for name in group[0]}


def _joined(name: str, arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        low, high = (shape_text(shape) for shape in (min(shapes), max(shapes)))
        raise DataError(
            f"input '{name}': samples of one batch differ in shape, {low} and {high};"
            " bring all samples to one shape"
        )
    return np.concatenate(arrays)
