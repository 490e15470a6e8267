"""AdaRound finds better codes than the nearest where inputs are correlated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.adaround import adaround
from onnxq.numerics.rounding import output_error

Array = npt.NDArray[np.float64]
LIMITS = (-8, 7)
seeds = st.integers(0, 10_000)


def quadratic(seed: int, groups: int = 2, outputs: int = 3, size: int = 24) -> tuple[Array, Array]:
    """A target in units of its scale, some of it beyond the limits, and moments of low rank."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(groups, size, size // 3))
    hessian = factors @ factors.swapaxes(1, 2) + 0.1 * np.eye(size)
    return 4 * rng.normal(size=(groups, outputs, size)), hessian


def nearest(target: Array) -> npt.NDArray[np.int32]:
    return np.clip(np.rint(target), *LIMITS).astype(np.int32)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_every_code_is_next_to_the_target_or_at_a_limit(seed: int) -> None:
    target, hessian = quadratic(seed)
    codes = adaround(target, hessian, np.ones((2, 3, 1)), LIMITS, steps=50)
    assert codes.dtype == np.int32
    assert np.abs(codes - np.clip(target, *LIMITS)).max() < 1
    beyond = (target < LIMITS[0]) | (target > LIMITS[1])
    np.testing.assert_array_equal(codes[beyond], nearest(target)[beyond])


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_inputs_that_are_not_correlated_round_to_the_nearest(seed: int) -> None:
    target, _ = quadratic(seed)
    target = target[np.abs(target % 1 - 0.5).min(axis=2) > 0.01].reshape(1, -1, 24)
    scale = np.full((1, target.shape[1], 1), 0.5)
    codes = adaround(target * 0.5, np.eye(24)[np.newaxis] * 3, scale, LIMITS, steps=200)
    np.testing.assert_array_equal(codes, nearest(target))


@pytest.mark.parametrize("seed", range(3))
def test_correlated_inputs_leave_less_than_two_thirds_of_the_error(seed: int) -> None:
    target, hessian = quadratic(seed, outputs=16)
    target = np.clip(target, -7.5, 6.5)
    codes = adaround(target, hessian, np.ones((2, 16, 1)), LIMITS)
    before = output_error(nearest(target).astype(float), target, hessian).sum()
    assert output_error(codes.astype(float), target, hessian).sum() < 2 / 3 * before


def test_units_of_the_inputs_do_not_matter() -> None:
    target, hessian = quadratic(0)
    one = np.ones((2, 3, 1))
    codes = adaround(target, hessian, one, LIMITS, steps=100)
    np.testing.assert_array_equal(adaround(target, 64 * hessian, one, LIMITS, steps=100), codes)
    np.testing.assert_array_equal(adaround(target / 4, hessian, one / 4, LIMITS, steps=100), codes)
