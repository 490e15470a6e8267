import numpy as np
import pytest

from onnxq.numerics.moments import Moments


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1, 6, 9, 7), 1),
        ((3, 6, 5, 5), 1),
        ((2, 11, 4), 2),
        ((2, 11, 4), -1),
        ((5, 8), 0),
        ((1, 10), 1),
        ((2, 3, 4, 5, 2), 1),
        ((4, 3), None),
        ((), None),
    ],
    ids=str,
)
def test_moments_are_those_of_numpy(shape: tuple[int, ...], axis: int | None) -> None:
    x = np.random.default_rng(0).normal(1, 3, shape).astype(np.float32)
    others = tuple(i for i in range(x.ndim) if axis is None or i != axis % x.ndim)
    wide = x.astype(np.float64)
    moments = Moments.of(x, axis)
    np.testing.assert_array_equal(moments.minimum, wide.min(axis=others))
    np.testing.assert_array_equal(moments.maximum, wide.max(axis=others))
    np.testing.assert_allclose(moments.mean, wide.mean(axis=others), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moments.second_moment, (wide**2).mean(axis=others), rtol=1e-6)
    np.testing.assert_allclose(moments.std, wide.std(axis=others), rtol=1e-4, atol=2e-3)


def test_masks_near_the_end_of_float32_do_not_overflow() -> None:
    x = np.array([[0.0, np.finfo(np.float32).min], [1.0, 2.0]], np.float32)
    moments = Moments.of(x, 0)
    assert moments.finite
    np.testing.assert_allclose(moments.second_moment, [np.square(3.4028235e38) / 2, 2.5], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_a_single_bad_element_shows(bad: float, axis: int | None) -> None:
    x = np.ones((3, 4), np.float32)
    x[1, 2] = bad
    assert not Moments.of(x, axis).finite


def test_merge_equals_the_whole() -> None:
    x = np.random.default_rng(1).integers(-50, 50, (6, 5, 8)).astype(np.float32)
    whole = Moments.of(x, 1)
    merged = Moments.of(x[:2], 1).merge(Moments.of(x[2:], 1))
    assert merged.count == whole.count
    for name in ("minimum", "maximum", "total", "square_total"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))


def test_merge_of_different_channel_counts_is_overall() -> None:
    merged = Moments.of(np.ones((2, 3), np.float32), 1).merge(
        Moments.of(np.full((2, 4), 2, np.float32), 1)
    )
    assert merged.minimum.shape == ()
    assert merged.count == 14
    assert float(merged.mean) == pytest.approx(22 / 14)


def test_overall_combines_the_channels() -> None:
    x = np.random.default_rng(2).standard_normal((4, 5)).astype(np.float32)
    overall, direct = Moments.of(x, 0).overall(), Moments.of(x, None)
    assert overall.count == direct.count == 20
    assert float(overall.magnitude) == float(np.abs(x).max())
    np.testing.assert_allclose(overall.total, direct.total, rtol=1e-5)
