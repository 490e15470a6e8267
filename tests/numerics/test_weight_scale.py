import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.numerics.weight_scale import weight_scale

WEIGHTS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=3), elements=st.floats(-8, 8, width=16)
)


def square_error(w: npt.NDArray[np.float32], scale: float, qmax: int) -> float:
    codes = np.clip(np.rint(w.astype(np.float64) / scale), -qmax, qmax)
    return float(np.square(codes * scale - w).sum())


@pytest.mark.parametrize("axis", [0, 1, 3, -1, None])
def test_minmax_maps_the_greatest_magnitude_to_qmax(axis: int | None) -> None:
    w = np.random.default_rng(0).standard_normal((4, 3, 2, 5)).astype(np.float32)
    others = tuple(i for i in range(4) if axis is None or i != axis % 4)
    scale = weight_scale(w, axis, 127)
    assert scale.dtype == np.float32
    np.testing.assert_allclose(scale, np.abs(w).max(axis=others) / 127, rtol=1e-6)


@given(WEIGHTS, st.sampled_from([1, 7, 127]))
def test_mse_is_no_worse_than_minmax_in_any_channel(w: npt.NDArray[np.float32], qmax: int) -> None:
    wide, best = weight_scale(w, 0, qmax), weight_scale(w, 0, qmax, "mse")
    assert (best > 0).all()
    for row, a, b in zip(w, wide, best, strict=True):
        assert square_error(row, float(b), qmax) <= square_error(row, float(a), qmax) + 1e-4


@pytest.mark.parametrize(("qmax", "optimum"), [(1, 1.22), (3, 2.0)])
def test_mse_finds_the_known_optimum_for_normal_weights(qmax: int, optimum: float) -> None:
    w = np.random.default_rng(0).standard_normal((1, 200_000)).astype(np.float32)
    assert float(weight_scale(w, None, qmax, "mse")) * qmax == pytest.approx(optimum, rel=0.05)


def test_channels_do_not_influence_each_other() -> None:
    w = np.random.default_rng(0).standard_normal((300, 64, 9)).astype(np.float32)
    together = weight_scale(w, 0, 7, "mse")
    alone = [weight_scale(w[i : i + 1], 0, 7, "mse")[0] for i in (0, 150, 299)]
    np.testing.assert_array_equal(together[[0, 150, 299]], alone)


def test_a_channel_of_zeros_has_scale_one() -> None:
    w = np.zeros((2, 3), np.float32)
    w[1] = 1
    assert weight_scale(w, 0, 127, "mse")[0] == 1.0
