"""Ranges per channel with room for what the samples do not show."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxq.numerics.channel_ranges import roomy_ranges
from onnxq.numerics.moments import Moments

RNG = np.random.default_rng(0)


def test_a_class_that_no_sample_holds_gets_the_room_that_others_needed() -> None:
    scores = RNG.normal(-6, 0.5, (1, 20, 4000)).astype(np.float32)
    scores[0, :19, 0] = 3.0
    low, high = roomy_ranges(Moments.of(scores, 1))
    assert scores[0, 19].max() < -3
    assert high[19] > 2
    np.testing.assert_allclose(high[:19], high[:19].mean(), rtol=0.15)
    assert (low < -7).all()


def test_channels_differ_by_their_own_spread() -> None:
    x = RNG.standard_normal((1, 8, 5000)).astype(np.float32) * np.float32(10.0) ** np.arange(8)[
        None, :, None
    ].astype(np.float32)
    low, high = roomy_ranges(Moments.of(x, 1))
    for c in range(8):
        assert 3 < high[c] / 10.0**c < 6
        assert -6 < low[c] / 10.0**c < -3


def test_one_wild_channel_widens_no_other() -> None:
    x = RNG.standard_normal((1, 20, 5000)).astype(np.float32)
    x[0, 0, 0] = 1000
    _, high = roomy_ranges(Moments.of(x, 1))
    assert high[0] == 1000
    assert high[1:].max() < 6


def test_constant_channels_stay_as_they_are() -> None:
    x = np.repeat(np.array([0.0, 2.0, -3.0], np.float32)[None, :, None], 5, axis=2)
    low, high = roomy_ranges(Moments.of(x, 1))
    np.testing.assert_array_equal(low, [0, 2, -3])
    np.testing.assert_array_equal(high, [0, 2, -3])


@given(arrays(np.float32, (2, 3, 4), elements=st.floats(-1e3, 1e3, width=32)))
def test_what_was_seen_is_covered(x: np.ndarray) -> None:
    low, high = roomy_ranges(Moments.of(x, 1))
    assert (low <= x.min(axis=(0, 2))).all()
    assert (high >= x.max(axis=(0, 2))).all()
    assert np.isfinite(low).all()
    assert np.isfinite(high).all()
