from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.numerics.normal import Normal, clipped, mapped, product

MEANS = st.floats(-20, 20)
DEVIATIONS = st.floats(0.01, 20)


def one(mean: float, deviation: float) -> Normal:
    return Normal(np.array([mean]), np.array([deviation**2]))


def integral(x: Normal, low: float, high: float) -> tuple[float, float]:
    """Moments of the clipped variable by a fine sum."""
    at = np.linspace(-9, 9, 20_001)
    weights = np.exp(-0.5 * at**2)
    weights /= weights.sum()
    y = np.clip(x.mean[0] + x.deviation[0] * at, low, high)
    mean = float(y @ weights)
    return mean, float((y - mean) ** 2 @ weights)


@given(MEANS, DEVIATIONS, st.floats(-15, 15), st.floats(0, 15))
def test_clipped_moments_are_those_of_the_integral(
    mean: float, deviation: float, low: float, width: float
) -> None:
    x = one(mean, deviation)
    found = clipped(x, low, low + width)
    wanted = integral(x, low, low + width)
    size = deviation + abs(low) + width
    np.testing.assert_allclose(found.mean[0], wanted[0], atol=1e-6 * size)
    np.testing.assert_allclose(found.variance[0], wanted[1], atol=1e-5 * size**2)


@given(MEANS, DEVIATIONS)
def test_relu_of_x_less_relu_of_minus_x_is_x(mean: float, deviation: float) -> None:
    x, minus = one(mean, deviation), one(-mean, deviation)
    found = clipped(x, low=0.0).mean - clipped(minus, low=0.0).mean
    np.testing.assert_allclose(found, [mean], atol=1e-12 * (1 + abs(mean) + deviation))


def test_relu_of_a_standard_normal() -> None:
    found = clipped(one(0.0, 1.0), low=0.0)
    np.testing.assert_allclose(found.mean, [1 / np.sqrt(2 * np.pi)])
    np.testing.assert_allclose(found.variance, [0.5 - 1 / (2 * np.pi)])


def test_nothing_is_clipped_without_bounds() -> None:
    found = clipped(one(3.0, 2.0))
    np.testing.assert_allclose([*found.mean, *found.variance], [3.0, 4.0])


@pytest.mark.parametrize(("mean", "wanted"), [(-1.0, 0.0), (2.0, 2.0), (9.0, 6.0), (0.0, 0.0)])
def test_what_does_not_vary_is_clipped_like_a_number(mean: float, wanted: float) -> None:
    found = clipped(one(mean, 0.0), 0.0, 6.0)
    np.testing.assert_allclose([*found.mean, *found.variance], [wanted, 0.0], atol=1e-12)


@given(MEANS, DEVIATIONS)
def test_mapped_agrees_with_the_closed_form(mean: float, deviation: float) -> None:
    x = one(mean, deviation)
    found, wanted = mapped(x, lambda y: np.clip(y, 0, 6)), clipped(x, 0, 6)
    np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-3 * deviation)
    np.testing.assert_allclose(found.variance, wanted.variance, atol=1e-3 * deviation**2 + 1e-9)


def test_mapped_agrees_with_samples() -> None:
    rng = np.random.default_rng(0)
    x = Normal(np.array([0.5, -1.0]), np.array([4.0, 0.25]))

    def silu(y: np.ndarray) -> np.ndarray:
        return np.asarray(y / (1 + np.exp(-y)))

    samples = silu(x.mean[:, None] + x.deviation[:, None] * rng.standard_normal((2, 400_000)))
    found = mapped(x, silu)
    np.testing.assert_allclose(found.mean, samples.mean(1), atol=5e-3)
    np.testing.assert_allclose(found.variance, samples.var(1), rtol=2e-2)


def test_a_product_of_independent_variables() -> None:
    found = product(one(2.0, 1.0), one(-3.0, 2.0))
    np.testing.assert_allclose([*found.mean, *found.variance], [-6.0, 4 * 4 + 9 * 1 + 4])
