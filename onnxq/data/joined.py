"""One source per input, sample by sample side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.data.base import DataSource, Feed, readable
from onnxq.data.fit import fixed_batch
from onnxq.data.images import ImageSource
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnxq.data.base import InputSpec


class JoinedSource(DataSource):
    """Sample i of every source, together. Where an image is unreadable, the whole sample is."""

    def __init__(
        self, where: str, sources: Sequence[DataSource], inputs: Sequence[InputSpec]
    ) -> None:
        """Joins sources of equal length.

        Args:
            where: What to call the data in errors and in the report.
            sources: One source for each input; of images, one in which every file counts.
            inputs: Inputs of the model.

        Raises:
            DataError: Single samples are mixed with batches.
        """
        self._where = where
        self._sources = sources
        batch = fixed_batch(inputs)
        if batch > 1 and len({source.samples_per_feed for source in sources}) > 1:
            raise DataError(
                f"{where} mixes single samples with whole batches of {batch};"
                " save every input the same way"
            )

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._sources[0])

    @property
    def samples_per_feed(self) -> int:
        """Leading size of the first input's arrays."""
        return self._sources[0].samples_per_feed

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """Numbers of the samples of each sub-folder, as in the first source."""
        return self._sources[0].groups

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """Files left out so far, as (file, reason)."""
        return [skip for source in self._sources for skip in source.skipped]

    def describe(self) -> str:
        """One line: where, how many samples, and every source."""
        held = "; ".join(source.describe() for source in self._sources)
        return f"{self._where}: {len(self)} samples ({held})"

    def feeds(self, indices: Sequence[int]) -> Iterator[Feed]:
        """Yields the samples at `indices`; see `DataSource.feeds`.

        Raises:
            DataError: Not one of the samples can be read, or one does not fit the model.
        """
        return readable(
            map(self._feed, indices),
            f"{self._where}: none of the {len(indices)} chosen samples can be read;"
            " check the files",
        )

    def _feed(self, index: int) -> Feed | None:
        joined: Feed = {}
        for source in self._sources:
            if isinstance(source, ImageSource):
                part = source.feed(index)
            else:
                part = next(source.feeds([index]))
            if part is None:
                return None
            joined |= part
        return joined
