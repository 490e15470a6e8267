"""Which samples calibrate and which verify: seeded, spread evenly, the same every time.

Where samples lie in groups (sub-folders), each group in turn gives one more, until enough are
taken: a small group is heard as well as a large one, as a range must hold what either shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELD_OUT = 4
# Each draw over groups has a stream of random numbers of its own.
_SHARE, _DRAW, _SPLIT = 2, 3, 4


def choose_samples(n_available: int, n_wanted: int, seed: int) -> list[int]:
    """Draws one sample from each of `n_wanted` equal stretches of the data.

    A plain draw could miss whole classes of a folder that is ordered by class.

    Args:
        n_available: Number of samples there are.
        n_wanted: Number of samples to choose.
        seed: Seed of the draw.

    Returns:
        min(n_wanted, n_available) different indices, ascending.

    Raises:
        ConfigError: Fewer than one sample is wanted, or the seed is negative.
    """
    if n_wanted < 1:
        raise ConfigError(f"samples = {n_wanted} is too few; ask for at least 1")
    return _one_per_stretch(n_available, min(n_wanted, n_available), [seed, 0])


def split_holdout(indices: Sequence[int], seed: int) -> tuple[list[int], list[int]]:
    """Sets about one sample in four aside for verification, spread evenly.

    Args:
        indices: Chosen samples.
        seed: Seed of the draw.

    Returns:
        (calibration, held out), both in the order of `indices`, disjoint, together all of them.
        Nothing is held out of fewer than two samples.

    Raises:
        ConfigError: The seed is negative.
    """
    held = set(_one_per_stretch(len(indices), _held_count(len(indices)), [seed, 1]))
    calibration = [index for place, index in enumerate(indices) if place not in held]
    return calibration, [indices[place] for place in sorted(held)]


def choose_from_groups(groups: Sequence[Sequence[int]], n_wanted: int, seed: int) -> list[int]:
    """Draws the same number of samples from every group, as far as the group has them.

    Args:
        groups: Numbers of the samples of each group. One group chooses as `choose_samples` does.
        n_wanted: Number of samples to choose.
        seed: Seed of the draw.

    Returns:
        min(n_wanted, number of samples) different numbers, ascending.

    Raises:
        ConfigError: Fewer than one sample is wanted, or the seed is negative.
    """
    if len(groups) == 1:
        return [groups[0][i] for i in choose_samples(len(groups[0]), n_wanted, seed)]
    if n_wanted < 1:
        raise ConfigError(f"samples = {n_wanted} is too few; ask for at least 1")
    shares = _equal_shares([len(group) for group in groups], n_wanted, seed)
    return sorted(
        group[index]
        for place, (group, share) in enumerate(zip(groups, shares, strict=True))
        for index in _one_per_stretch(len(group), share, [seed, _DRAW, place])
    )


def split_groups(
    indices: Sequence[int], groups: Sequence[Sequence[int]], seed: int
) -> tuple[list[int], list[int]]:
    """Sets about one sample in four aside for verification, about one in four of every group.

    The samples, group by group, are cut into equal stretches, and one is taken at the same place
    of each (systematic sampling): of c chosen samples of a group, c * held / all of them are held
    out, rounded down or up.

    Args:
        indices: Chosen samples, ascending.
        groups: Numbers of the samples of each group. One group splits as `split_holdout` does.
        seed: Seed of the draw.

    Returns:
        (calibration, held out), both ascending, disjoint, together all of them. Nothing is held
        out of fewer than two samples.

    Raises:
        ConfigError: The seed is negative.
    """
    if len(groups) == 1:
        return split_holdout(indices, seed)
    chosen = set(indices)
    ordered = [index for group in groups for index in group if index in chosen]
    n_held = _held_count(len(ordered))
    offset = _generator([seed, _SPLIT]).random()
    held = {ordered[int((place + offset) * len(ordered) / n_held)] for place in range(n_held)}
    return [index for index in indices if index not in held], sorted(held)


def _equal_shares(sizes: Sequence[int], n_wanted: int, seed: int) -> list[int]:
    """Round after round, one more of each group that has more; the last round draws whose."""
    shares = [0] * len(sizes)
    left = min(n_wanted, sum(sizes))
    while left:
        able = [place for place, size in enumerate(sizes) if shares[place] < size]
        rounds = min(min(sizes[place] - shares[place] for place in able), left // len(able))
        if not rounds:
            able = [able[i] for i in _one_per_stretch(len(able), left, [seed, _SHARE])]
        for place in able:
            shares[place] += rounds or 1
        left -= len(able) * (rounds or 1)
    return shares


def _held_count(n: int) -> int:
    return max(1, round(n / _HELD_OUT)) if n > 1 else 0


def _one_per_stretch(n: int, stretches: int, seed: list[int]) -> list[int]:
    generator = _generator(seed)
    if stretches == 0:
        return []
    edges = np.arange(stretches + 1) * n // stretches
    return [int(index) for index in generator.integers(edges[:-1], edges[1:])]


def _generator(seed: list[int]) -> np.random.Generator:
    if seed[0] < 0:
        raise ConfigError(f"seed = {seed[0]} is negative; give 0 or more")
    return np.random.default_rng(seed)
