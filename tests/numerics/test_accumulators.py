"""The bounds of sums of products are those that some input takes."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.numerics.accumulators import product_bounds


@given(
    hnp.arrays(np.int8, (3, 4)),
    st.integers(-255, 0),
    st.integers(0, 255),
)
def test_bounds_are_the_extremes_over_all_corners(rows: np.ndarray, low: int, high: int) -> None:
    corners = np.array(list(itertools.product((low, high), repeat=4)))
    sums = corners @ rows.astype(np.int64).T
    least, most = product_bounds(rows, low, high)
    np.testing.assert_array_equal(least, sums.min(axis=0))
    np.testing.assert_array_equal(most, sums.max(axis=0))


def test_large_sums_do_not_wrap() -> None:
    least, most = product_bounds(np.full((1, 200_000), 127, np.int8), -255, 255)
    assert (least[0], most[0]) == (-6_477_000_000, 6_477_000_000)
