"""Feeds from Python: sequences and callables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.data.base import Feed, InputSpec
from onnxq.data.sequences import FeedSource
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

X = InputSpec("x", np.dtype(np.float32), (None, 2))
Y = InputSpec("y", np.dtype(np.float32), (None, 1))


def samples(count: int) -> list[Feed]:
    return [{"x": np.full((1, 2), k, np.float32)} for k in range(count)]


@given(order=st.lists(st.integers(0, 6), max_size=10))
@pytest.mark.parametrize("as_callable", [False, True], ids=["sequence", "callable"])
def test_samples_come_in_the_order_asked_for(as_callable: bool, order: list[int]) -> None:
    items = samples(7)
    source = FeedSource((lambda: iter(items)) if as_callable else items, [X])
    assert [feed["x"][0, 0] for feed in source.feeds(order)] == order


def test_a_bare_array_feeds_the_only_input() -> None:
    source = FeedSource([np.array([1.0, 2.0]), [[3.0, 4.0]]], [X])
    assert [feed["x"].tolist() for feed in source.feeds([0, 1])] == [[[1, 2]], [[3, 4]]]


@pytest.mark.parametrize("as_callable", [False, True], ids=["sequence", "callable"])
def test_the_description_states_count_and_kind(as_callable: bool) -> None:
    items = samples(3)
    source = FeedSource((lambda: iter(items)) if as_callable else items, [X])
    assert source.describe() == f"3 samples from a {'callable' if as_callable else 'sequence'}"


def test_a_callable_keeps_one_sample_at_a_time() -> None:
    alive: list[int] = []

    def stream() -> Iterator[Feed]:
        for k in range(5):
            alive.append(k)
            yield {"x": np.full((1, 2), k, np.float32)}

    feeds = FeedSource(stream, [X]).feeds([0, 4])
    alive.clear()
    next(feeds)
    assert alive == [0]


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="the data yields no samples; give at least one"):
        FeedSource([], [X])


def test_a_bare_array_for_two_inputs_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        FeedSource([np.zeros(2)], [X, Y])
    assert str(caught.value) == (
        "data, sample 0 is a ndarray, but the model has 2 inputs;"
        " give a dict with an array for each of x, y"
    )


def test_a_later_bad_sample_is_named() -> None:
    items = [*samples(2), {"x": np.array([[0.0, np.nan]])}]
    with pytest.raises(DataError, match="data, sample 2: array 'x' holds NaN or infinity"):
        list(FeedSource(items, [X]).feeds(range(3)))


def test_a_missing_input_is_named() -> None:
    with pytest.raises(DataError, match="data, sample 0: no array for input 'y', there is x;"):
        FeedSource(samples(1), [X, Y])


def test_a_sequence_that_fails_is_named_with_the_sample() -> None:
    class Failing(list[Feed]):
        def __getitem__(self, index: Any) -> Any:  # noqa: ANN401
            raise OSError(5, "disk is gone")

    said = r"the data, sample 0 failed at \S+ with OSError: disk is gone; mend it"
    with pytest.raises(DataError, match=said):
        FeedSource(Failing(samples(2)), [X])


def test_a_tensor_that_refuses_to_be_an_array_is_named() -> None:
    class Tensor:
        def __array__(self, *_: object, **__: object) -> None:
            raise RuntimeError("requires grad")

    with pytest.raises(DataError, match="data, sample 0: array 'x' is no array: requires grad;"):
        FeedSource([{"x": Tensor()}], [X])  # type: ignore[dict-item]


def test_a_missing_input_is_named_among_odd_names() -> None:
    with pytest.raises(DataError, match="no array for input 'x', there is 0, 1;"):
        FeedSource([{0: np.zeros(2), 1: np.zeros(1)}], [X, Y])  # type: ignore[dict-item]


def test_ragged_samples_are_refused() -> None:
    with pytest.raises(DataError, match="data, sample 0: array 'x' is no array"):
        FeedSource([{"x": [[1.0], [1.0, 2.0]]}], [X])


def test_a_failing_callable_is_reported_on_one_line() -> None:
    def fail() -> Iterator[Feed]:
        yield from samples(1)
        raise KeyError("no\nfile")

    with pytest.raises(DataError, match=r"the data callable failed at \S+ with KeyError: .*; mend"):
        FeedSource(fail, [X])


def test_a_callables_own_data_error_passes() -> None:
    def fail() -> Iterator[Feed]:
        yield from samples(1)
        raise DataError("camera 3 is off")

    with pytest.raises(DataError, match=r"^camera 3 is off$"):
        FeedSource(fail, [X])


def test_a_callable_that_shrinks_is_refused() -> None:
    counts = iter([3, 3, 1])
    source = FeedSource(lambda: samples(next(counts)), [X])
    with pytest.raises(DataError, match="the data ended before sample 2, though it held 3 before"):
        list(source.feeds([2]))


def test_a_callable_that_yields_others_on_the_next_pass_is_refused() -> None:
    levels = iter(range(9))

    def shuffled() -> Iterator[Feed]:
        yield {"x": np.full((1, 2), next(levels), np.float32)}

    with pytest.raises(DataError) as caught:
        FeedSource(shuffled, [X])
    assert str(caught.value) == (
        "the data yields another sample 0 on every pass;"
        " seed or sort it, so that every pass is the same"
    )


def test_another_sample_in_the_same_buffer_is_refused() -> None:
    levels, buffer = iter(range(9)), np.zeros((1, 2), np.float32)

    def shuffled() -> Iterator[Feed]:
        buffer[:] = next(levels)
        yield {"x": buffer}

    with pytest.raises(DataError, match="yields another sample 0 on every pass"):
        FeedSource(shuffled, [X])


def test_a_callable_may_use_its_buffer_again() -> None:
    buffer = np.zeros((1, 2), np.float32)

    def stream() -> Iterator[Feed]:
        for level in range(3):
            buffer[:] = level
            yield {"x": buffer}

    assert len(FeedSource(stream, [X])) == 3


def test_a_name_is_used_in_the_description_and_in_errors() -> None:
    assert FeedSource(samples(3), [X], "calib:feeds").describe() == "3 samples from calib:feeds"
    with pytest.raises(DataError, match=r"^data calib:feeds yields no samples; give at least one$"):
        FeedSource([], [X], "calib:feeds")
    with pytest.raises(DataError, match=r"^data calib:feeds, sample 0: no array for input 'y'"):
        FeedSource(samples(1), [X, Y], "calib:feeds")


def test_mixing_samples_and_batches_is_refused() -> None:
    fixed = InputSpec("x", np.dtype(np.float32), (4, 2))
    items = [np.zeros((1, 2), np.float32), np.zeros((4, 2), np.float32)]
    source = FeedSource(items, [fixed])
    with pytest.raises(DataError, match="sample 1 mixes single samples with whole batches of 4"):
        list(source.feeds([0, 1]))


def test_a_batch_given_whole_is_taken_whole() -> None:
    fixed = InputSpec("x", np.dtype(np.float32), (4, 2))
    assert FeedSource([np.zeros((4, 2), np.float32)], [fixed]).samples_per_feed == 4
