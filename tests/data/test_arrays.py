"""Array sources: several inputs, counts, order, concatenation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.data.arrays import ArraySource, ConcatSource
from onnxq.data.base import InputSpec
from onnxq.data.npz_stream import MemoryRows
from onnxq.errors import DataError

X = InputSpec("x", np.dtype(np.float32), (None, 3))
Y = InputSpec("y", np.dtype(np.int64), (None,))


def ramp(start: int, count: int) -> ArraySource:
    values = np.arange(start, start + count, dtype=np.float32)[:, None].repeat(3, axis=1)
    return ArraySource(f"part{start}", {"x": MemoryRows(values)}, [X])


def test_every_input_gets_its_row() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    y = np.array([5, 7])
    source = ArraySource("f", {"y": MemoryRows(y), "x": MemoryRows(x)}, [X, Y])
    feeds = list(source.feeds([1, 0]))
    assert [feed["x"].tolist() for feed in feeds] == [[[3, 4, 5]], [[0, 1, 2]]]
    assert [feed["y"].tolist() for feed in feeds] == [[7], [5]]


def test_the_description_states_count_and_arrays() -> None:
    assert ramp(0, 4).describe() == "part0: 4 samples (x float32 [4, 3])"


def test_arrays_skip_nothing() -> None:
    assert list(ramp(0, 4).skipped) == []


def test_unequal_counts_are_refused() -> None:
    arrays = {"x": MemoryRows(np.zeros((4, 3), np.float32)), "y": MemoryRows(np.zeros(5, np.int64))}
    with pytest.raises(DataError) as caught:
        ArraySource("f", arrays, [X, Y])
    assert str(caught.value) == (
        "f holds unequal numbers of samples: 4 for 'x', 5 for 'y';"
        " save the same number for every input"
    )


def test_nan_names_file_array_and_sample() -> None:
    x = np.zeros((4, 3), np.float32)
    x[2, 1] = np.nan
    source = ArraySource("calib.npz", {"x": MemoryRows(x)}, [X])
    with pytest.raises(DataError, match=r"calib\.npz: array 'x', sample 2 holds NaN or infinity"):
        list(source.feeds(range(4)))


def test_samples_before_a_bad_one_are_delivered() -> None:
    x = np.zeros((2, 3), np.float32)
    x[1] = np.inf
    stream = ArraySource("f", {"x": MemoryRows(x)}, [X]).feeds([0, 1])
    assert next(stream)["x"].tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("array", "leading"),
    [(np.zeros((6, 3)), 1), (np.zeros((6, 1, 3)), 1), (np.zeros((6, 2, 3)), 2), (np.zeros(3), 1)],
    ids=["rows", "feeds", "batches", "one"],
)
def test_samples_per_feed_is_the_leading_size(
    array: np.ndarray[tuple[int, ...], np.dtype[np.float64]], leading: int
) -> None:
    source = ArraySource("f", {"x": MemoryRows(array)}, [X])
    assert source.samples_per_feed == leading
    assert next(source.feeds([0]))["x"].shape == (leading, 3)


def test_mixing_samples_and_batches_is_refused() -> None:
    fixed = [InputSpec(name, np.dtype(np.float32), (4, 3)) for name in "xy"]
    arrays = {
        "x": MemoryRows(np.zeros((8, 3), np.float32)),
        "y": MemoryRows(np.zeros((8, 4, 3), np.float32)),
    }
    with pytest.raises(DataError, match="f mixes single samples with whole batches of 4; save"):
        ArraySource("f", arrays, fixed)


@given(st.data())
def test_a_concatenation_reads_like_one_array(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    starts = [sum(counts[:k]) for k in range(len(counts))]
    source = ConcatSource("d", [ramp(s, c) for s, c in zip(starts, counts, strict=True)])
    order = data.draw(st.lists(st.integers(0, sum(counts) - 1), max_size=12))
    assert len(source) == sum(counts)
    assert [feed["x"][0, 0] for feed in source.feeds(order)] == order


def test_a_concatenation_describes_itself() -> None:
    source = ConcatSource("d", [ramp(0, 2), ramp(2, 3)])
    assert source.describe() == "d: 5 samples in 2 files"
    assert source.samples_per_feed == 1


def test_a_concatenation_groups_samples_by_folder() -> None:
    parts = [ramp(0, 2), ramp(2, 3), ramp(5, 1)]
    assert ConcatSource("d", parts, ["a", "b", "a"]).groups == [[0, 1, 5], [2, 3, 4]]
    assert ConcatSource("d", parts).groups == [range(6)]


def test_a_concatenation_of_samples_and_batches_is_refused() -> None:
    batches = ArraySource("b", {"x": MemoryRows(np.zeros((2, 4, 3), np.float32))}, [X])
    with pytest.raises(DataError, match="d: some files hold single samples and others batches"):
        ConcatSource("d", [ramp(0, 2), batches])
