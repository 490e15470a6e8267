from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.equalization import LayerMagnitudes, equalizing_factors


def chain(depth: int, channels: int, seed: int) -> list[LayerMagnitudes]:
    """Dense layers one after the other; the first reads, and the last writes, without factors."""
    rng = np.random.default_rng(seed)
    none = np.full(channels, -1)
    numbers = [none, *np.arange(depth * channels).reshape(depth, channels), none]
    return [
        LayerMagnitudes(np.exp2(rng.uniform(-6, 6, (1, channels, channels))), reads, writes)
        for reads, writes in itertools.pairwise(numbers)
    ]


def imbalance(layers: list[LayerMagnitudes], factors: npt.NDArray[np.float64]) -> float:
    """Returns the greatest |log| ratio of what writes and what reads a channel."""
    known = np.append(factors, 1.0)
    tables = [t * known[w][:, None] / known[r] for t, r, w in layers]
    pairs = itertools.pairwise(tables)
    return max(float(np.abs(np.log(b.max((0, 1)) / a.max((0, 2)))).max()) for a, b in pairs)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 99))
def test_ranges_become_even_along_chains_of_any_length(depth: int, size: int, seed: int) -> None:
    layers = chain(depth, size, seed)
    factors = equalizing_factors(layers, depth * size)
    assert (factors > 0).all()
    assert imbalance(layers, factors) < 0.1


def test_a_pair_meets_in_the_middle() -> None:
    none, both = np.array([-1]), np.array([0])
    layers = [
        LayerMagnitudes(np.full((1, 1, 1), 8.0), none, both),
        LayerMagnitudes(np.full((1, 1, 1), 2.0), both, none),
    ]
    np.testing.assert_allclose(equalizing_factors(layers, 1), [0.5], rtol=0.03)


def test_dead_channels_and_even_ranges_keep_their_factor() -> None:
    none = np.full(2, -1)
    both = np.arange(2)
    table = np.array([[[1.0, 1.0], [0.0, 0.0]]])
    layers = [
        LayerMagnitudes(table, none, both),
        LayerMagnitudes(np.ones((1, 2, 2)), both, none),
    ]
    np.testing.assert_array_equal(equalizing_factors(layers, 2), [1.0, 1.0])
    np.testing.assert_array_equal(equalizing_factors([], 0), np.ones(0))


def test_groups_have_their_own_channels() -> None:
    none, both = np.full(2, -1), np.arange(2)
    layers = [
        LayerMagnitudes(np.array([[[4.0]], [[1.0]]]), none, both),
        LayerMagnitudes(np.array([[[1.0]], [[1.0]]]), both, none),
    ]
    np.testing.assert_allclose(equalizing_factors(layers, 2), [0.5, 1.0], rtol=0.03)


def test_a_limit_holds_and_the_others_settle_around_it() -> None:
    layers = chain(4, 3, seed=5)
    free = equalizing_factors(layers, 12)
    limits = np.full(12, np.inf)
    limits[np.argmax(free)] = 1.5
    assert free.max() > 1.5
    factors = equalizing_factors(layers, 12, limits)
    assert factors[np.argmax(free)] == pytest.approx(1.5)
    assert (factors <= limits * (1 + 1e-9)).all()


def test_what_only_a_limit_keeps_uneven_stays() -> None:
    none, both = np.array([-1]), np.array([0])
    layers = [
        LayerMagnitudes(np.full((1, 1, 1), 1.0), none, both),
        LayerMagnitudes(np.full((1, 1, 1), 9.0), both, none),
    ]
    np.testing.assert_array_equal(equalizing_factors(layers, 1, np.array([1.0])), [1.0])
