"""Which samples calibrate and which verify: seeded, spread evenly, the same every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELD_OUT = 4


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
    n_held = max(1, round(len(indices) / _HELD_OUT)) if len(indices) > 1 else 0
    held = set(_one_per_stretch(len(indices), n_held, [seed, 1]))
    calibration = [index for place, index in enumerate(indices) if place not in held]
    return calibration, [indices[place] for place in sorted(held)]


def _one_per_stretch(n: int, stretches: int, seed: list[int]) -> list[int]:
    if seed[0] < 0:
        raise ConfigError(f"seed = {seed[0]} is negative; give 0 or more")
    if stretches == 0:
        return []
    edges = np.arange(stretches + 1) * n // stretches
    drawn = np.random.default_rng(seed).integers(edges[:-1], edges[1:])
    return [int(index) for index in drawn]
