"""What a model wants at its inputs, and what every source of calibration data offers."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy.typing as npt

from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np

    from onnxq.data.guess import Guess

Feed: TypeAlias = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class InputSpec:
    """One input of the model.

    Attributes:
        name: Name of the graph input.
        dtype: Element type that the model takes.
        shape: Dimensions, batch first; None where the model leaves a dimension symbolic.
        guess: What the model itself tells of how images become this input.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    guess: Guess | None = None


class Picture(NamedTuple):
    """An image as the model sees it, but for what is done to its levels.

    Attributes:
        name: What to call it: its file's name without folder and ending.
        levels: uint8 [height, width, 3], RGB, of the model's input size.
    """

    name: str
    levels: npt.NDArray[np.uint8]


def readable(feeds: Iterable[Feed | None], complaint: str) -> Iterator[Feed]:
    """Yields the feeds of samples that could be read.

    Args:
        feeds: One for every sample asked for; None for one that could not be read.
        complaint: What to say if not one of them could.

    Raises:
        DataError: Samples were asked for, and none could be read.
    """
    asked = read = 0
    for feed in feeds:
        asked += 1
        if feed is not None:
            read += 1
            yield feed
    if asked and not read:
        raise DataError(complaint)


class DataSource(abc.ABC):
    """Samples for a model, read one at a time: memory does not grow with their number."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of samples, known before the first one is read."""

    @abc.abstractmethod
    def describe(self) -> str:
        """One line for the report: where the data lies, how much, what is done to it."""

    @abc.abstractmethod
    def feeds(self, indices: Sequence[int]) -> Iterator[Feed]:
        """Yields the samples at `indices`, in that order, ready for the model.

        A sample that turns out unreadable only now (an image with a good header and broken
        pixels) is left out and recorded in `skipped`; then fewer feeds come than indices.

        Args:
            indices: Sample numbers in [0, len(self)). Ascending order reads fastest.

        Yields:
            Input name → array [1, ...] in the input's dtype (other leading sizes only where
            `samples_per_feed` says so).

        Raises:
            DataError: A sample does not fit the model or holds NaN or infinity.
        """

    @property
    def samples_per_feed(self) -> int:
        """Leading size of the arrays in one feed; 1 unless the model fixes a larger batch."""
        return 1

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """Numbers of the samples of each sub-folder, together all; one group if there are none."""
        return [range(len(self))]

    def pictures(self, index: int) -> Sequence[Picture]:
        """Returns the pictures that the sample at `index` is made of, in the order of its batch.

        None at all where the samples are no images, or one cannot be decoded.
        """
        del index
        return ()

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """Files left out so far, as (file, reason)."""
        return ()
