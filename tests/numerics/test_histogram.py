import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.numerics.histogram import BINS, Histogram, subsample

FLOATS = st.floats(-(2.0**60), 2.0**60, width=32) | st.floats(-8, 8, width=32) | st.just(0.0)
ARRAYS = hnp.arrays(np.float32, st.integers(0, 40), elements=FLOATS)


@given(ARRAYS, ARRAYS, ARRAYS)
def test_merge_is_associative_bit_for_bit(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], c: npt.NDArray[np.float32]
) -> None:
    x, y, z = (Histogram.of(part) for part in (a, b, c))
    assert x.merge(y).merge(z).same_as(x.merge(y.merge(z)))


@given(ARRAYS, ARRAYS)
def test_merge_equals_the_histogram_of_all_elements_in_either_order(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> None:
    whole = Histogram.of(np.concatenate([a, b]))
    assert Histogram.of(a).merge(Histogram.of(b)).same_as(whole)
    assert Histogram.of(b).add(a).same_as(whole)


@given(ARRAYS)
def test_each_element_is_counted_in_the_bin_that_holds_it(x: npt.NDArray[np.float32]) -> None:
    histogram = Histogram.of(x)
    wanted, _ = np.histogram(x[x != 0].astype(np.float64), np.append(histogram.edges, np.inf))
    np.testing.assert_array_equal(histogram.counts, wanted[: histogram.counts.size])
    assert histogram.zeros == np.count_nonzero(x == 0)
    assert histogram.total == x.size


@given(ARRAYS)
def test_bins_are_few_and_the_width_is_the_least_possible(x: npt.NDArray[np.float32]) -> None:
    histogram = Histogram.of(x)
    assert histogram.counts.size <= BINS
    if histogram.counts.size:
        half = histogram.width / 2
        low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        bins = math.floor(high / half) - math.floor(low / half) + (high > 0)
        assert bins > BINS or histogram.exponent == -120


@pytest.mark.parametrize("constant", [1.0, -1.0, 0.1, -3e-30, 3e38, 1e-44])
def test_a_constant_fills_one_bin(constant: float) -> None:
    x = np.full(7, constant, np.float32)
    histogram = Histogram.of(x)
    (filled,) = np.flatnonzero(histogram.counts)
    assert histogram.counts[filled] == 7
    assert histogram.edges[filled] <= float(x[0]) < histogram.edges[filled + 1]


def test_zeros_alone_need_no_bin() -> None:
    histogram = Histogram.of(np.array([0.0, -0.0], np.float32))
    assert (histogram.counts.size, histogram.zeros) == (0, 2)


def test_chunks_leave_no_trace() -> None:
    x = np.random.default_rng(0).standard_normal(50_001).astype(np.float32)
    parts = Histogram.empty()
    for part in np.array_split(x, 7):
        parts = parts.add(part)
    assert parts.same_as(Histogram.of(x))


def test_zero_is_an_edge() -> None:
    histogram = Histogram.of(np.array([-0.3, 5.0], np.float32))
    assert histogram.edges[histogram.below] == 0.0


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.9, 0.9999, 1.0])
def test_quantile_splits_the_elements_as_asked_to_within_a_bin(share: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.laplace(size=20_000).astype(np.float32)
    histogram = Histogram.of(x)
    found = histogram.quantile(share)
    assert np.mean(x <= found - histogram.width) <= share <= np.mean(x <= found + histogram.width)


def test_quantile_within_the_zeros_is_zero() -> None:
    x = np.array([-2.0, 0.0, 0.0, 0.0, 3.0], np.float32)
    assert [Histogram.of(x).quantile(share) for share in (0.3, 0.5, 0.8)] == [0.0, 0.0, 0.0]


def test_quantile_of_nothing_is_zero() -> None:
    assert Histogram.empty().quantile(0.5) == 0.0


@pytest.mark.parametrize("shape", [(1, 64, 112, 112), (1, 85, 80, 80), (3, 1000), (7,)])
def test_subsample_is_bounded_and_visits_every_channel(shape: tuple[int, ...]) -> None:
    channels = np.broadcast_to(
        np.arange(shape[min(1, len(shape) - 1)]).reshape(-1, *[1] * max(0, len(shape) - 2)), shape
    )
    taken = subsample(np.ascontiguousarray(channels), 4096)
    assert 2048 <= taken.size <= 4096 or taken.size == channels.size
    share = np.bincount(taken) / taken.size
    assert share.min() > 0.5 * share.max()


def test_add_takes_no_more_than_asked() -> None:
    x = np.ones(10_000, np.float32)
    assert 1 <= Histogram.empty().add(x, 100).total <= 100


@given(ARRAYS, st.integers(2, 64))
def test_coarser_bins_hold_the_same_elements(x: npt.NDArray[np.float32], bins: int) -> None:
    fine = Histogram.of(x)
    coarse = fine.coarser(bins)
    assert coarse.counts.size <= bins
    assert coarse.total == fine.total
    assert coarse.counts[: coarse.below].sum() == fine.counts[: fine.below].sum()
    assert coarse.same_as(Histogram.of(x, coarse.exponent))


def test_the_share_below_counts_zeros_and_parts_of_bins() -> None:
    histogram = Histogram.of(np.array([-2.0, 0, 0, 0.5, 0.75, 3.0], np.float32))
    assert histogram.share_below(-3) == 0
    assert histogram.share_below(0) == pytest.approx(1 / 6)
    assert histogram.share_below(0.25) == pytest.approx(3 / 6)
    assert histogram.share_below(1) == pytest.approx(5 / 6)
    assert histogram.share_below(4) == 1
    assert Histogram.empty().share_below(1) == 0
