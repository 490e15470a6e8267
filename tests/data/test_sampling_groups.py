"""Property tests of the choice and the split over sub-folders."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.data.sampling import choose_from_groups, choose_samples, split_groups, split_holdout
from onnxq.errors import ConfigError

SEEDS = st.integers(0, 2**32)
SIZES = st.lists(st.integers(1, 60), min_size=2, max_size=12)


def consecutive(sizes: list[int]) -> list[range]:
    ends = np.cumsum(sizes).tolist()
    return [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def shuffled(sizes: list[int], seed: int) -> list[list[int]]:
    order = np.random.default_rng(seed).permutation(sum(sizes)).tolist()
    return [sorted(order[place] for place in group) for group in consecutive(sizes)]


@given(size=st.integers(1, 300), wanted=st.integers(1, 400), seed=SEEDS)
def test_one_group_is_chosen_from_and_split_as_before(size: int, wanted: int, seed: int) -> None:
    chosen = choose_from_groups([range(size)], wanted, seed)
    assert chosen == choose_samples(size, wanted, seed)
    assert split_groups(chosen, [range(size)], seed) == split_holdout(chosen, seed)


def test_the_choice_without_groups_is_pinned() -> None:
    chosen = choose_from_groups([range(100)], 8, 0)
    assert chosen == [10, 20, 31, 40, 53, 62, 75, 87]
    assert split_groups(chosen, [range(100)], 0) == ([10, 20, 40, 53, 62, 75], [31, 87])


@given(sizes=SIZES, wanted=st.integers(1, 500), seed=SEEDS)
def test_every_group_gives_as_many_as_the_others_or_all_it_has(
    sizes: list[int], wanted: int, seed: int
) -> None:
    groups = shuffled(sizes, 0)
    chosen = choose_from_groups(groups, wanted, seed)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(wanted, sum(sizes))
    counts = [len(set(chosen) & set(group)) for group in groups]
    most = max(counts)
    assert all(
        count in (most, most - 1) or count == len(group)
        for count, group in zip(counts, groups, strict=True)
    )


@given(sizes=SIZES, seed=SEEDS)
def test_a_groups_share_is_spread_over_the_group(sizes: list[int], seed: int) -> None:
    groups = consecutive([4 * size for size in sizes])
    chosen = choose_from_groups(groups, 2 * len(groups), seed)
    for group in groups:
        low, high = (index - group.start for index in chosen if index in group)
        assert low < len(group) / 2 <= high


def test_fewer_than_groups_are_spread_over_the_groups() -> None:
    groups = consecutive([10] * 40)
    homes = [index // 10 for index in choose_from_groups(groups, 8, 3)]
    assert [home // 5 for home in homes] == list(range(8))


def test_groups_repeat_for_a_seed_and_differ_between_seeds() -> None:
    groups = consecutive([100] * 10)
    assert choose_from_groups(groups, 64, 1) == choose_from_groups(groups, 64, 1)
    assert choose_from_groups(groups, 64, 1) != choose_from_groups(groups, 64, 2)
    chosen = choose_from_groups(groups, 64, 1)
    assert split_groups(chosen, groups, 1) == split_groups(chosen, groups, 1)
    assert len({tuple(split_groups(chosen, groups, seed)[1]) for seed in range(20)}) > 1


@given(sizes=SIZES, wanted=st.integers(1, 200), seed=SEEDS)
def test_the_split_is_disjoint_complete_and_ordered(
    sizes: list[int], wanted: int, seed: int
) -> None:
    groups = shuffled(sizes, 1)
    chosen = choose_from_groups(groups, wanted, seed)
    calibration, held = split_groups(chosen, groups, seed)
    assert sorted(calibration + held) == chosen
    assert (calibration, held) == (sorted(calibration), sorted(held))
    assert len(held) == (max(1, round(len(chosen) / 4)) if len(chosen) > 1 else 0)


@given(sizes=SIZES, seed=SEEDS)
def test_the_split_holds_out_the_fair_share_of_every_group(sizes: list[int], seed: int) -> None:
    groups = shuffled(sizes, 2)
    total = sum(sizes)
    held = split_groups(range(total), groups, seed)[1]
    for group in groups:
        share = len(group) * len(held) / total
        count = len(set(group) & set(held))
        assert math.floor(share - 1e-9) <= count <= math.ceil(share + 1e-9)


@pytest.mark.parametrize("wanted", [0, -3])
def test_fewer_than_one_is_refused(wanted: int) -> None:
    with pytest.raises(ConfigError, match=rf"samples = {wanted} is too few; ask for at least 1"):
        choose_from_groups([[0], [1]], wanted, 0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed = -1 is negative; give 0 or more"):
        choose_from_groups([[0], [1]], 2, -1)
    with pytest.raises(ConfigError, match="seed = -1 is negative; give 0 or more"):
        split_groups([0, 1], [[0], [1]], -1)
