from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.channel_clusters import cluster_channels

numbers = st.floats(0, 100, allow_subnormal=False)


def clustering_cost(
    width: npt.NDArray[np.float64],
    energy: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
) -> float:
    """Returns the cost of a clustering.

    Args:
        width: float64 [C].
        energy: float64 [C].
        labels: int64 [C], any numbers.
    """
    return float(
        sum(
            np.square(width[labels == label].max()) * energy[labels == label].sum()
            for label in np.unique(labels)
        )
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6), st.integers(1, 3))
def test_no_clustering_at_all_costs_less(channels: list[tuple[float, float]], count: int) -> None:
    width, energy = np.array(channels, np.float64).T
    found = cluster_channels(width, energy, count)
    assert np.unique(found).size <= count
    every = itertools.product(range(count), repeat=width.size)
    least = min(clustering_cost(width, energy, np.array(labels)) for labels in every)
    assert clustering_cost(width, energy, found) == pytest.approx(least, rel=1e-9, abs=1e-9)


@given(st.lists(numbers, min_size=1, max_size=40), st.integers(1, 5))
def test_clusters_are_numbered_from_the_narrowest_without_gaps(
    widths: list[float], count: int
) -> None:
    width = np.array(widths)
    labels = cluster_channels(width, np.ones(width.size), count)
    assert set(labels.tolist()) == set(range(int(labels.max()) + 1))
    assert (np.diff(labels[np.argsort(width, kind="stable")]) >= 0).all()


def test_outliers_get_a_cluster_of_their_own() -> None:
    width = np.ones(256)
    width[[3, 77, 200, 201]] = 60
    labels = cluster_channels(width, np.ones(256), 2)
    assert np.flatnonzero(labels).tolist() == [3, 77, 200, 201]


def test_what_the_reader_hardly_passes_on_does_not_count() -> None:
    width = np.array([1.0, 1.1, 10.0, 100.0])
    even = cluster_channels(width, np.ones(4), 2)
    deaf = cluster_channels(width, np.array([1.0, 1.0, 1e-6, 1e-6]), 2)
    assert even.tolist() == [0, 0, 0, 1]
    assert deaf.tolist() == [0, 0, 1, 1]


def test_equal_channels_stay_together() -> None:
    assert not cluster_channels(np.full(8, 2.0), np.ones(8), 4).any()


def test_the_cost_is_what_the_formula_says() -> None:
    width, energy = np.array([1.0, 2.0, 5.0]), np.array([3.0, 4.0, 0.5])
    assert clustering_cost(width, energy, np.array([0, 0, 1])) == 2.0**2 * 7 + 5.0**2 * 0.5
