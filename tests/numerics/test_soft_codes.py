"""Codes move to a neighbour where the gradient says so, and stay elsewhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.soft_codes import SoftCodes

LIMITS = (-4, 3)
STEP = np.full((6, 1), 0.25, np.float32)
seeds = st.integers(0, 10_000)


def start(seed: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Codes, and weights in units of a code that need not be nearest to them."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(*LIMITS, (6, 5), np.int32, endpoint=True)
    return codes, (codes + rng.normal(0, 0.6, codes.shape)).astype(np.float32)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_before_the_first_step_all_is_as_it_was(seed: int) -> None:
    codes, wanted = start(seed)
    soft = SoftCodes(codes, STEP, wanted, LIMITS)
    np.testing.assert_array_equal(soft.codes(), codes)
    np.testing.assert_array_equal(soft.value(), codes * STEP)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_codes_follow_the_gradient_to_a_neighbour_towards_the_weight_and_within_limits(
    seed: int,
) -> None:
    codes, wanted = start(seed)
    soft = SoftCodes(codes, STEP, wanted, LIMITS, regularization=0)
    toward = np.where(wanted < codes, -1, 1)
    slope = np.where(np.arange(5) < 2, -toward, toward).astype(np.float32)
    for step in range(300):
        soft.descend(slope, step / 300)
    soft.settle()
    moved = soft.codes() - codes
    free = (codes + toward >= LIMITS[0]) & (codes + toward <= LIMITS[1])
    np.testing.assert_array_equal(moved[:, 2:], 0)
    np.testing.assert_array_equal(moved[:, :2], np.where(free, toward, 0)[:, :2])
    np.testing.assert_array_equal(soft.value(), soft.codes() * STEP)


def test_while_it_descends_a_weight_is_between_codes() -> None:
    codes, wanted = np.zeros((1, 1), np.int32), np.full((1, 1), 0.4, np.float32)
    soft = SoftCodes(codes, np.ones((1, 1), np.float32), wanted, LIMITS)
    soft.descend(np.full((1, 1), -1.0, np.float32), 0.0)
    assert 0 < soft.value().item() < 0.5


def test_before_the_end_every_weight_is_whole_and_stays() -> None:
    codes, wanted = start(3)
    soft = SoftCodes(codes, STEP, wanted, LIMITS)
    rng = np.random.default_rng(0)
    for step in range(181):
        soft.descend(rng.normal(size=codes.shape).astype(np.float32), step / 200)
    whole = soft.codes()
    np.testing.assert_array_equal(soft.value(), whole * STEP)
    soft.descend(np.full(codes.shape, -1e3, np.float32), 0.95)
    np.testing.assert_array_equal(soft.codes(), whole)


def test_the_most_decided_are_rounded_first_and_others_go_on() -> None:
    codes = np.zeros((1, 2), np.int32)
    soft = SoftCodes(
        codes, np.ones((1, 1), np.float32), np.array([[0.02, 0.1]], np.float32), LIMITS
    )
    push = np.array([[0.0, -1.0]], np.float32)
    for _ in range(40):
        soft.descend(push, 0.0)
    soft.descend(push, 0.5)
    first, second = soft.value()[0]
    assert first == 0
    assert 0 < second < 1
