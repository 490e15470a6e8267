from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.numerics.grid import Codebook, Range

numbers = hnp.arrays(
    np.float32, st.integers(1, 20), elements=st.floats(-200, 200, width=32, allow_subnormal=False)
)


@given(numbers)
def test_a_range_rounds_and_clips(x: npt.NDArray[np.float32]) -> None:
    found = Range(-8, 7).nearest(x)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.clip(np.rint(x), -8, 7))


@given(numbers, st.sets(st.integers(-127, 127), min_size=2, max_size=16))
def test_of_a_codebook_no_level_is_nearer(x: npt.NDArray[np.float32], levels: set[int]) -> None:
    chosen = np.array(sorted(levels), np.int32)
    found = Codebook(chosen).nearest(x)
    assert np.isin(found, chosen).all()
    least = np.abs(chosen[:, np.newaxis] - x.astype(np.float64)).min(axis=0)
    np.testing.assert_allclose(np.abs(found - x.astype(np.float64)), least, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_keep_their_type(dtype: type[np.floating]) -> None:
    found = Codebook(np.array([-3, 5], np.int32)).nearest(np.array([1.0, 1.1], dtype))
    assert found.dtype == dtype
    assert found.tolist() == [-3, 5]
