import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.numerics.affine import affine_params, dequantize, quantize, symmetric_scale
from tests.numerics.rounding import fake_quantize

ENDS = st.floats(-1e6, 1e6, width=32)
CODES = st.sampled_from([(0, 255), (-128, 127), (0, 15), (-8, 7), (0, 65535), (-2, 1)])


@given(ENDS, ENDS, CODES)
def test_zero_is_held_exactly(a: float, b: float, codes: tuple[int, int]) -> None:
    scale, zero_point = affine_params(min(a, b), max(a, b), codes)
    assert scale > 0
    zero = np.zeros((), np.float32)
    assert float(fake_quantize(zero, scale, zero_point, codes)) == 0.0


@given(ENDS, ENDS, hnp.arrays(np.float64, 9, elements=st.floats(0, 1)), CODES)
def test_elements_in_the_range_move_by_no_more_than_a_step(
    a: float, b: float, share: npt.NDArray[np.float64], codes: tuple[int, int]
) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    scale, zero_point = affine_params(low, high, codes)
    x = (low + share * (high - low)).astype(np.float32)
    moved = np.abs(fake_quantize(x, scale, zero_point, codes).astype(np.float64) - x)
    # Half a step from rounding, half from the rounded zero point at the ends of the range.
    assert (moved <= float(scale) * (1 + 1e-4 * codes[1] / 255)).all()


def test_rounding_is_half_to_even() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32)
    codes = quantize(x, np.ones((), np.float32), np.zeros((), np.int32), (-128, 127))
    np.testing.assert_array_equal(codes, [0, 2, 2, 0, -2])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_params_run_along_the_axis(axis: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    n = x.shape[axis]
    scale = np.linspace(0.1, 0.3, n, dtype=np.float32)
    zero_point = np.arange(n, dtype=np.int32)
    codes = quantize(x, scale, zero_point, (0, 255), axis)
    back = dequantize(codes, scale, zero_point, axis)
    for i in range(n):
        one, zero = scale[i : i + 1].reshape(()), zero_point[i : i + 1].reshape(())
        part = np.asarray(x.take(i, axis))
        wanted = quantize(part, one, zero, (0, 255))
        np.testing.assert_array_equal(codes.take(i, axis), wanted)
        np.testing.assert_array_equal(back.take(i, axis), dequantize(wanted, one, zero))


def test_an_empty_range_has_scale_one() -> None:
    scale, zero_point = affine_params(0.0, 0.0, (0, 255))
    assert (float(scale), int(zero_point)) == (1.0, 0)
    assert symmetric_scale(np.zeros(2), 127).tolist() == [1.0, 1.0]


def test_a_range_above_zero_starts_at_zero() -> None:
    scale, zero_point = affine_params(3.0, 6.0, (0, 255))
    assert int(zero_point) == 0
    assert float(scale) == pytest.approx(6 / 255)
