"""Wilson's interval against values computed by hand, and its properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.numerics.interval import wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # z²/n = 3.841459/10; (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)
        (5, 10, 0.236593, 0.763407),
        (9, 10, 0.595850, 0.982124),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (95, 100, 0.888250, 0.978456),
    ],
)
def test_known_values(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-6)


def test_nothing_tried_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes in 3 trials"):
        wilson_interval(successes, trials)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_ends_solve_the_score_equation_and_enclose_the_share(counts: tuple[int, int]) -> None:
    successes, trials = counts
    share = successes / trials
    low, high = wilson_interval(successes, trials)

    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            deviation = abs(share - end) / math.sqrt(end * (1 - end) / trials)
            assert deviation == pytest.approx(1.959964, rel=1e-4)


@given(st.integers(0, 50), st.integers(1, 50))
def test_failures_mirror_successes(successes: int, rest: int) -> None:
    trials = successes + rest
    low, high = wilson_interval(successes, trials)

    assert wilson_interval(rest, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)
