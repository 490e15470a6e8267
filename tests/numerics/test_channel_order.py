from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.numerics.channel_order import channel_order

_NUMBERS = st.lists(st.integers(0, 50), min_size=2, max_size=20)


def test_channels_are_sorted_by_energy() -> None:
    order = channel_order(np.array([3.0, 1.0, 2.0]), None, 2, 6.0)
    assert order is not None
    assert order.tolist() == [1, 2, 0]


def test_channels_that_reach_far_come_last_whatever_their_energy() -> None:
    energy, width = np.array([0.5, 3.0, 1.0, 2.0]), np.array([60.0, 1.0, 1.0, 1.0])
    order = channel_order(energy, width, 2, 6.0)
    assert order is not None
    assert order.tolist() == [2, 3, 1, 0]


@pytest.mark.parametrize(("clusters", "least_gain"), [(1, 0.0), (2, 60.0)])
def test_clusters_that_do_not_count_change_nothing(clusters: int, least_gain: float) -> None:
    energy, width = np.array([0.5, 3.0, 1.0, 2.0]), np.array([60.0, 1.0, 1.0, 1.0])
    order = channel_order(energy, width, clusters, least_gain)
    assert order is not None
    assert order.tolist() == [0, 2, 3, 1]


def test_rounding_errors_do_not_count() -> None:
    energy = np.array([1.0, 1.00001, 1.0, 2.0])
    assert channel_order(energy, None, 2, 6.0) is None


def test_channels_that_are_equal_stay() -> None:
    assert channel_order(np.ones(4), np.ones(4), 2, 6.0) is None
    assert channel_order(np.zeros(4), np.zeros(4), 2, 6.0) is None


def test_blocks_of_sorted_columns_take_less_noise() -> None:
    """4 bits in blocks of 32, columns log-normal with σ = 0.5, in front of normal inputs."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((256, 64)) * np.exp(rng.normal(0, 0.5, 256))[:, np.newaxis]
    order = channel_order(np.square(weight).sum(axis=1), None, 2, 6.0)
    assert order is not None
    assert _noise(weight[order]) < 0.75 * _noise(weight)


def _noise(weight: npt.NDArray[np.float64]) -> float:
    blocks = weight.reshape(-1, 32, weight.shape[1])
    steps = np.abs(blocks).max(axis=1, keepdims=True) / 7
    return float(np.square(blocks - np.rint(blocks / steps) * steps).sum())


@given(_NUMBERS, st.data())
def test_the_order_is_a_permutation_that_stays(energies: list[int], data: st.DataObject) -> None:
    size = len(energies)
    energy = np.array(energies, np.float64)
    width = np.array(data.draw(st.lists(st.integers(0, 50), min_size=size, max_size=size)), float)
    order = channel_order(energy, width, 3, 1.0)
    if order is not None:
        assert sorted(order) == list(range(size))
        assert channel_order(energy[order], width[order], 3, 1.0) is None
