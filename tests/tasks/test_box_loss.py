"""Distances of box numbers: raw ones count what corners would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.tasks.box_loss import box_loss, box_spread

SIDES = st.lists(st.floats(2.0, 20.0), min_size=4, max_size=4)


def corners(distances: np.ndarray) -> np.ndarray:
    return np.stack([-distances[0], -distances[1], distances[2], distances[3]])[None]


@given(st.floats(2.0, 20.0), st.lists(st.floats(-0.02, 0.02), min_size=4, max_size=4))
def test_distances_of_a_square_box_lose_what_its_corners_do(
    half: float, shift: list[float]
) -> None:
    real = np.full(4, half)
    other = real * (1 + np.asarray(shift))

    raw = box_loss(real[None], other[None], "raw")[0]

    # to first order: 1 - GIoU grows by the square as well, and by less where shifts cancel
    exact = box_loss(corners(real), corners(other), "corners")[0]
    assert raw[0] == pytest.approx(exact[0], rel=0.1, abs=1e-3)


@given(SIDES, SIDES, st.floats(1.0, 50.0))
def test_distances_lose_the_same_in_any_unit(
    real: list[float], other: list[float], unit: float
) -> None:
    one, two = np.asarray([real]), np.asarray([other])

    scaled = box_loss(one * unit, two * unit, "raw")[0]
    assert scaled == pytest.approx(box_loss(one, two, "raw")[0], rel=1e-9)


def test_small_numbers_lose_their_distance() -> None:
    real, other = np.asarray([[0.1, -0.2, 0.3, 0.0]]), np.asarray([[0.2, -0.2, 0.1, 0.5]])

    assert box_loss(real, other, "raw")[0] == pytest.approx([0.8])


def test_more_numbers_count_as_four() -> None:
    real, other = np.full((1, 5), 4.0), np.full((1, 5), 5.0)

    assert box_loss(real, other, "raw")[0] == pytest.approx([4 * 1 / 8])
    four = box_loss(real[:, :4], other[:, :4], "raw")[0]
    assert box_loss(real, other, "raw")[0] == pytest.approx(four)


@given(SIDES)
def test_spread_has_the_curvature_of_half_the_squared_shifts_over_the_side(
    real: list[float],
) -> None:
    rows = np.tile(np.asarray([real]), (20_000, 1))

    drawn = box_spread(rows, "raw", np.random.default_rng(0))

    curvature = drawn.T @ drawn / len(rows)
    side = sum(real) / 2
    assert curvature == pytest.approx(np.eye(4) / side**2, abs=0.05 / side**2)
