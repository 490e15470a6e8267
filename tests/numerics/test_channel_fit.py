from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxq.numerics.channel_fit import FitSums


@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-10, 10))
def test_factors_and_offsets_are_found_and_undone(seed: int, factor: float, offset: float) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.normal(size=(3, 1, 4, 5, 5))
    factors, offsets = np.array([factor, 1, 0.5, 2]), np.array([0, offset, 1, -1])
    sums = FitSums()
    for array in wanted:
        sums.add(array, array * factors.reshape(1, -1, 1, 1) + offsets.reshape(1, -1, 1, 1))

    fit = sums.fit()

    np.testing.assert_allclose(fit.factor, factors, rtol=1e-6)
    np.testing.assert_allclose(fit.offset, offsets, atol=1e-6)
    np.testing.assert_allclose(fit.back(fit.forward(wanted[0])), wanted[0], atol=1e-6)


def test_a_channel_that_goes_the_other_way_or_nowhere_is_left_alone() -> None:
    wanted = np.stack([np.arange(4.0), np.ones(4)])[None]
    sums = FitSums()
    sums.add(wanted, np.stack([-np.arange(4.0), np.full(4, 3.0)])[None])

    fit = sums.fit()

    assert fit.factor.tolist() == [1, 1]
    assert fit.offset.tolist() == [0, 0]
