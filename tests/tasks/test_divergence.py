"""Divergences: zero at equality alone, and derivatives that are slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxq.tasks.divergence import (
    bernoulli_curvature,
    bernoulli_divergence,
    share_curvature,
    share_divergence,
    softmax_divergence,
)

Array: TypeAlias = npt.NDArray[np.float64]
Divergence: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]

LOGITS = arrays(np.float64, (2, 4), elements=st.floats(-6, 6))
SHARES = arrays(np.float64, (2, 4), elements=st.floats(0.01, 0.99))
STEP = 1e-6


def slope(function: Divergence, wanted: Array, found: Array, at: tuple[int, int]) -> float:
    move = np.zeros_like(found)
    move[at] = STEP
    ahead, behind = (function(wanted, found + sign * move)[0].sum() for sign in (1, -1))
    return float((ahead - behind) / (2 * STEP))


@given(LOGITS, LOGITS)
def test_softmax_divergence(wanted: Array, found: Array) -> None:
    value, gradient = softmax_divergence(wanted, found)

    assert (value >= -1e-12).all()
    assert gradient[1, 2] == pytest.approx(
        slope(softmax_divergence, wanted, found, (1, 2)), abs=1e-6
    )


def test_softmax_divergence_by_hand() -> None:
    value, _ = softmax_divergence(np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]]))

    assert value == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))


@given(SHARES, SHARES)
def test_share_divergence(wanted: Array, found: Array) -> None:
    def function(p: Array, q: Array) -> tuple[Array, Array]:
        return share_divergence(p, q, 1e-3)

    value, gradient = function(wanted, found)

    assert (value >= -1e-12).all()
    assert gradient[0, 1] == pytest.approx(slope(function, wanted, found, (0, 1)), abs=1e-6)


def test_shares_of_zero_stay_finite() -> None:
    value, gradient = share_divergence(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]), 1e-3)

    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


@given(SHARES, SHARES)
def test_bernoulli_divergence(wanted: Array, found: Array) -> None:
    def function(p: Array, q: Array) -> tuple[Array, Array]:
        return bernoulli_divergence(p, q, 1e-2)

    value, gradient = function(wanted, found)

    assert (value >= -1e-12).all()
    assert gradient[1, 0] == pytest.approx(slope(function, wanted, found, (1, 0)), abs=1e-6)


@pytest.mark.parametrize("outside", [-0.2, 1.2])
def test_scores_outside_count_as_their_bound(outside: float) -> None:
    value, gradient = bernoulli_divergence(np.array(0.5), np.array(outside), 1e-2)
    bound, _ = bernoulli_divergence(np.array(0.5), np.array(np.clip(outside, 0, 1)), 1e-2)

    assert value == bound
    assert gradient == 0


@given(SHARES)
def test_curvatures_are_second_derivatives(p: Array) -> None:
    step = 1e-4
    for divergence, curvature in (
        (share_divergence, share_curvature),
        (bernoulli_divergence, bernoulli_curvature),
    ):
        move = np.zeros_like(p)
        move[0, 0] = step
        slopes = [divergence(p, p + sign * move, 1e-2)[1][0, 0] for sign in (1, -1)]
        second = (slopes[0] - slopes[1]) / (2 * step)
        assert curvature(p, 1e-2)[0, 0] == pytest.approx(second, rel=1e-3)
