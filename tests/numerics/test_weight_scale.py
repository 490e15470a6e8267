from __future__ import annotations

import numpy as np
import pytest

from onnxq.numerics.weight_scale import weight_scale


@pytest.mark.parametrize("axis", [0, 1, 3, -1, None])
def test_the_greatest_magnitude_becomes_qmax(axis: int | None) -> None:
    w = np.random.default_rng(0).standard_normal((4, 3, 2, 5)).astype(np.float32)
    others = tuple(i for i in range(4) if axis is None or i != axis % 4)
    scale = weight_scale(w, axis, 127)
    assert scale.dtype == np.float32
    np.testing.assert_allclose(scale, np.abs(w).max(axis=others) / 127, rtol=1e-6)


def test_a_channel_of_zeros_has_scale_one() -> None:
    w = np.zeros((2, 3), np.float32)
    w[1] = 1
    assert weight_scale(w, 0, 127)[0] == 1.0
