"""FlexRound: weights are divided by what gradient descent learns, and rounded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.flex_codes import FlexCodes

LIMITS = (-8, 7)
seeds = st.integers(0, 10_000)


def made(seed: int, least: float = 0.0) -> tuple[FlexCodes, npt.NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(*LIMITS, (4, 6), np.int32, endpoint=True)
    wanted = (codes + rng.normal(0, 0.5, codes.shape)).astype(np.float32)
    step = rng.uniform(0.1, 1, (4, 1)).astype(np.float32)
    return FlexCodes(codes, step, wanted, LIMITS, np.full((4, 1), least, np.float32)), codes


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_it_begins_with_the_given_codes_and_scales(seed: int) -> None:
    flex, codes = made(seed)
    np.testing.assert_array_equal(flex.codes(), codes)
    np.testing.assert_array_equal(flex.scale_factor(), 1)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_descent_comes_closer_to_a_target_within_limits(seed: int) -> None:
    flex, _ = made(seed)
    target = flex.value() * 1.2 + 0.3
    before = np.square(flex.value() - target).sum()
    for step in range(400):
        flex.descend(2 * (flex.value() - target), step / 400)
    assert np.square(flex.value() - target).sum() < 0.7 * before
    assert LIMITS[0] <= flex.codes().min() <= flex.codes().max() <= LIMITS[1]


def test_a_large_weight_moves_farther_than_a_small_one() -> None:
    codes = np.array([[6, 1]], np.int32)
    one = np.ones((1, 1), np.float32)
    flex = FlexCodes(codes, one, codes.astype(np.float32), LIMITS, 0 * one)
    for _ in range(200):
        flex.descend(np.ones((1, 2), np.float32), 0.0)
    moved = codes - flex.codes()
    assert moved[0, 0] > moved[0, 1]


@pytest.mark.parametrize("least", [0.0, 0.97])
def test_scales_fall_no_lower_than_they_may(least: float) -> None:
    flex, _ = made(1, least=least)
    target = flex.value() * np.float32(0.7)
    for step in range(400):
        flex.descend(2 * (flex.value() - target), step / 400)
    lowest = flex.scale_factor().min()
    assert lowest == pytest.approx(least, rel=1e-6) if least else lowest < 0.96
