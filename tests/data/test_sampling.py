"""Property tests of the seeded choice of samples."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.data.sampling import choose_samples, split_holdout
from onnxq.errors import ConfigError

SIZES = st.integers(1, 400)
SEEDS = st.integers(0, 2**32)


@given(available=SIZES, wanted=SIZES, seed=SEEDS)
def test_choice_takes_one_sample_of_each_equal_stretch(
    available: int, wanted: int, seed: int
) -> None:
    chosen = choose_samples(available, wanted, seed)
    count = min(available, wanted)
    edges = [k * available // count for k in range(count + 1)]
    assert all(
        low <= index < high
        for index, (low, high) in zip(chosen, itertools.pairwise(edges), strict=True)
    )


def test_choice_of_as_many_as_there_are_takes_all() -> None:
    assert choose_samples(7, 100, 3) == list(range(7))


def test_choice_from_nothing_is_empty() -> None:
    assert choose_samples(0, 5, 0) == []


def test_choice_repeats_for_a_seed_and_differs_between_seeds() -> None:
    assert choose_samples(10_000, 64, 1) == choose_samples(10_000, 64, 1)
    assert choose_samples(10_000, 64, 1) != choose_samples(10_000, 64, 2)


def test_choice_covers_every_class_of_an_ordered_folder() -> None:
    classes = {index // 100 for index in choose_samples(1000, 20, 5)}
    assert classes == set(range(10))


@pytest.mark.parametrize("wanted", [0, -3])
def test_choice_of_fewer_than_one_is_refused(wanted: int) -> None:
    with pytest.raises(ConfigError, match=rf"samples = {wanted} is too few; ask for at least 1"):
        choose_samples(10, wanted, 0)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed = -1 is negative; give 0 or more"):
        choose_samples(10, 5, -1)


@given(size=st.integers(0, 300), seed=SEEDS)
def test_split_is_disjoint_complete_and_ordered(size: int, seed: int) -> None:
    indices = [3 * k + 1 for k in range(size)]
    calibration, held = split_holdout(indices, seed)
    assert sorted(calibration + held) == indices
    assert calibration == sorted(calibration)
    assert held == sorted(held)


@given(size=st.integers(2, 300), seed=SEEDS)
def test_split_holds_out_about_a_quarter_and_leaves_some_of_both(size: int, seed: int) -> None:
    calibration, held = split_holdout(range(size), seed)
    assert len(held) == max(1, round(size / 4))
    assert calibration


@given(size=st.integers(8, 300), seed=SEEDS)
def test_split_spreads_what_it_holds_out(size: int, seed: int) -> None:
    _, held = split_holdout(range(size), seed)
    gaps = [right - left for left, right in itertools.pairwise(held)]
    assert max(gaps, default=0) <= 2 * -(-size // len(held))


@pytest.mark.parametrize("indices", [[], [5]], ids=["none", "one"])
def test_split_holds_nothing_out_of_fewer_than_two(indices: list[int]) -> None:
    assert split_holdout(indices, 0) == (indices, [])
