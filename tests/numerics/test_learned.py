"""Learned scales follow the gradient within bounds."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.numerics.learned import LearnedScale, LearnedShift, falling_rate


@pytest.mark.parametrize("wanted", [0.45, 0.6])
def test_a_scale_finds_its_best_value(wanted: float) -> None:
    scale = LearnedScale(np.asarray(0.5, np.float32), (0.5, 1.5), rate=1e-2)
    for step in range(200):
        scale.descend(2 * (scale.value() - np.float32(wanted)), step / 200)
    np.testing.assert_allclose(scale.value(), wanted, rtol=0.01)


@pytest.mark.parametrize(("slope", "bound"), [(1.0, 0.8), (-1.0, 1.25)])
def test_a_scale_stays_within_bounds(slope: float, bound: float) -> None:
    scale = LearnedScale(np.asarray(2.0, np.float32), (0.8, 1.25), rate=1e-2)
    for _ in range(100):
        scale.descend(np.asarray(slope, np.float32), 0.0)
    np.testing.assert_allclose(scale.value(), 2 * bound, rtol=1e-6)


def test_rates_fall_from_one_to_zero() -> None:
    rates = [falling_rate(part) for part in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (1.0, 0.0)


def test_a_shift_finds_its_best_value() -> None:
    start, wanted = np.array([0.5, -2], np.float32), np.array([0.8, -2.5], np.float32)
    shift = LearnedShift(start, np.array([1, 5], np.float32), rate=1e-2)
    np.testing.assert_array_equal(shift.value(), start)
    for step in range(200):
        shift.descend(2 * (shift.value() - wanted), step / 200)
    np.testing.assert_allclose(shift.value(), wanted, atol=0.01)
