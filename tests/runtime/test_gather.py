from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from onnxq.numerics.statistics import ValueStats
from onnxq.runtime.gather import Gatherer, NotFiniteError, default_channel_axis


def gathered(arrays: list[npt.NDArray[Any]], axis: int | None = None) -> ValueStats:
    gatherer = Gatherer("conv1") if axis is None else Gatherer("conv1", axis)
    for sample, array in enumerate(arrays):
        gatherer.add(array, sample)
    stats = gatherer.stats()
    assert stats is not None
    return stats


@pytest.mark.parametrize(
    ("rank", "axis"), [(0, None), (1, None), (2, 1), (3, 2), (4, 1), (5, 1)], ids=str
)
def test_channels_lie_where_exports_put_them(rank: int, axis: int | None) -> None:
    assert default_channel_axis(rank) == axis


@pytest.mark.parametrize("shape", [(1, 4, 3, 3), (1, 10), (1, 7, 5), (1, 8, 50, 60)], ids=str)
def test_many_arrays_give_the_statistics_of_all(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-9, 9, shape).astype(np.float32) for _ in range(9)]
    stats = gathered(arrays)
    axis = default_channel_axis(len(shape))
    whole = ValueStats.of(np.concatenate(arrays), axis)
    assert stats.channels is not None
    assert whole.channels is not None
    assert stats.channel_axis == axis
    for name in ("count", "minimum", "maximum", "total", "square_total"):
        np.testing.assert_array_equal(
            getattr(stats.channels, name), getattr(whole.channels, name), name
        )
        assert getattr(stats.moments, name) == getattr(whole.moments, name)


def test_small_arrays_are_counted_whole() -> None:
    arrays = [np.random.default_rng(i).standard_normal((1, 3, 8, 8)) for i in range(200)]
    whole = ValueStats.of(np.concatenate(arrays), 1)
    assert gathered(arrays).histogram.same_as(whole.histogram)


def test_large_arrays_are_sampled() -> None:
    arrays = [np.random.default_rng(i).standard_normal((1, 8, 60, 60)) for i in range(3)]
    assert 3 * 2048 <= gathered(arrays).histogram.total <= 3 * 4096


def test_the_split_into_two_runs_leaves_no_trace() -> None:
    arrays = [
        np.random.default_rng(i).integers(-99, 99, (1, 8, 60, 60)).astype(np.float32)
        for i in range(6)
    ]
    whole, halves = gathered(arrays), gathered(arrays[:2]).merge(gathered(arrays[2:]))
    assert halves.histogram.same_as(whole.histogram)
    assert halves.moments.total == whole.moments.total


def test_changing_sizes_keep_the_channels() -> None:
    arrays = [np.ones((1, 3, size, size), np.float32) for size in (2, 5, 2, 100)]
    stats = gathered(arrays)
    assert stats.channels is not None
    assert stats.channels.count == 4 + 25 + 4 + 10_000


def test_a_changing_number_of_channels_gives_them_up() -> None:
    stats = gathered([np.ones((1, n), np.float32) for n in (3, 4, 3)])
    assert stats.channels is None
    assert stats.count == 10


def test_a_changing_rank_gives_the_channels_up() -> None:
    stats = gathered([np.ones((1, 3), np.float32), np.ones((1, 3, 3), np.float32)])
    assert (stats.channels, stats.count) == (None, 12)


@pytest.mark.parametrize(("axis", "found"), [(0, 0), (-1, 2), (9, None)])
def test_a_given_axis_is_used_if_it_exists(axis: int, found: int | None) -> None:
    assert gathered([np.ones((2, 3, 4), np.float32)], axis).channel_axis == found


@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
def test_whole_numbers_have_no_statistics(dtype: type) -> None:
    gatherer = Gatherer("x")
    gatherer.add(np.ones((1, 3), dtype), 0)
    assert gatherer.stats() is None


def test_an_empty_array_adds_nothing() -> None:
    assert gathered([np.ones((1, 0, 2), np.float32), np.ones((1, 1, 2), np.float32)]).count == 2


@pytest.mark.parametrize("shape", [(1, 4, 100, 100), (1, 4)], ids=["large", "small"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_sample_that_is_not_finite_is_named(shape: tuple[int, ...], bad: float) -> None:
    arrays = [np.ones(shape, np.float32) for _ in range(5)]
    arrays[3][0, 2] = bad
    with pytest.raises(NotFiniteError) as error:
        gathered(arrays)
    assert (error.value.value, error.value.sample) == ("conv1", 3)


def test_the_callers_array_is_not_kept() -> None:
    array = np.ones((1, 4), np.float32)
    gatherer = Gatherer("x")
    gatherer.add(array, 0)
    array[:] = 9
    stats = gatherer.stats()
    assert stats is not None
    assert stats.maximum == 1.0
