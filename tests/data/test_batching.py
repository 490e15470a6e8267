"""Grouping of samples for models with a fixed batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.data.base import DataSource, Feed, InputSpec, Picture
from onnxq.data.batching import batched
from onnxq.data.sequences import FeedSource
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIXED = InputSpec("x", np.dtype(np.float32), (4, 1))


class Numbers(DataSource):
    """Samples 0, 1, 2 …, one of which may be unreadable."""

    def __init__(self, count: int, broken: int | None = None, per_feed: int = 1) -> None:
        self.count = count
        self.broken = broken
        self.per_feed = per_feed

    def __len__(self) -> int:
        return self.count

    def describe(self) -> str:
        return f"{self.count} numbers"

    @property
    def samples_per_feed(self) -> int:
        return self.per_feed

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        return [("f", "broken")]

    def feeds(self, indices: Sequence[int]) -> Iterator[Feed]:
        for index in indices:
            if index != self.broken:
                yield {"x": np.full((self.per_feed, 1), index, np.float32)}


def test_consecutive_samples_form_a_batch_and_the_rest_is_dropped() -> None:
    source = batched(Numbers(11), [FIXED])
    assert len(source) == 2
    assert source.samples_per_feed == 4
    assert [feed["x"].ravel().tolist() for feed in source.feeds([1, 0])] == [
        [4, 5, 6, 7],
        [0, 1, 2, 3],
    ]


@pytest.mark.parametrize(
    ("count", "line"),
    [
        (11, "11 numbers, in 2 batches of 4, the last 3 dropped"),
        (8, "8 numbers, in 2 batches of 4"),
    ],
    ids=["remainder", "even"],
)
def test_the_description_says_how_samples_are_grouped(count: int, line: str) -> None:
    assert batched(Numbers(count), [FIXED]).describe() == line


def test_an_unreadable_sample_moves_the_following_up() -> None:
    source = batched(Numbers(8, broken=2), [FIXED])
    assert [feed["x"].ravel().tolist() for feed in source.feeds([0, 1])] == [[0, 1, 3, 4]]
    assert source.skipped == [("f", "broken")]


def test_a_batch_belongs_to_the_folder_of_its_first_sample() -> None:
    class Folders(Numbers):
        groups = [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9, 10, 11, 12]]  # noqa: RUF012

    assert batched(Folders(13), [FIXED]).groups == [[0, 1], [2]]
    assert batched(Numbers(13), [FIXED]).groups == [range(3)]


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        batched(Numbers(3), [FIXED])
    assert str(caught.value) == (
        "3 numbers: too few, the model fixes a batch of 4; give at least 4 samples"
    )


@pytest.mark.parametrize(
    ("per_feed", "shape"), [(4, (4, 1)), (1, (None, 1)), (1, (1, 1))], ids=["whole", "open", "one"]
)
def test_what_needs_no_grouping_stays(per_feed: int, shape: tuple[int | None, ...]) -> None:
    source = Numbers(5, per_feed=per_feed)
    assert batched(source, [InputSpec("x", np.dtype(np.float32), shape)]) is source


def test_samples_of_different_shapes_in_one_batch_are_refused() -> None:
    items = [np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32)]
    wide = [InputSpec("x", np.dtype(np.float32), (2, None))]
    with pytest.raises(DataError) as caught:
        list(batched(FeedSource(items, wide), wide).feeds([0]))
    assert str(caught.value) == (
        "input 'x': samples of one batch differ in shape, [1, 2] and [1, 3];"
        " bring all samples to one shape"
    )


class Pictures(Numbers):
    """Numbers, each of which has a picture."""

    def pictures(self, index: int) -> Sequence[Picture]:
        if index == self.broken:
            return ()
        return [Picture(str(index), np.zeros((1, 1, 3), np.uint8))]


def test_a_batch_has_the_pictures_of_its_samples() -> None:
    source = batched(Pictures(11), [FIXED])

    assert [picture.name for picture in source.pictures(1)] == ["4", "5", "6", "7"]


def test_a_batch_with_a_broken_sample_has_no_pictures() -> None:
    assert list(batched(Pictures(11, broken=5), [FIXED]).pictures(1)) == []


def test_samples_without_pictures_make_batches_without() -> None:
    assert list(batched(Numbers(11), [FIXED]).pictures(1)) == []
