from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from onnxq.numerics.affine import affine_params
from onnxq.numerics.range_error import Behind, RangeProblem, error_function
from onnxq.numerics.statistics import ValueStats
from tests.numerics.ranges import error_of, leaky, silu
from tests.numerics.rounding import fake_quantize


def identity(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return x


def laplace() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).laplace(size=100_000).astype(np.float32)


def relu6() -> npt.NDArray[np.float32]:
    return np.clip(4 * laplace(), 0, 6).astype(np.float32)


def outliers() -> npt.NDArray[np.float32]:
    x = laplace()
    x[::5000] *= 100
    return x


@pytest.mark.parametrize("data", [laplace, relu6, outliers])
@pytest.mark.parametrize("p", [1, 2, 2.4, 4])
@pytest.mark.parametrize("codes", [(0, 255), (-8, 7)], ids=["u8", "s4"])
@pytest.mark.parametrize("behind", [None, silu, leaky])
def test_the_error_is_that_of_quantizing_every_element(
    data: Callable[[], npt.NDArray[np.float32]],
    p: float,
    codes: tuple[int, int],
    behind: Behind | None,
) -> None:
    x = data()
    problem = RangeProblem(ValueStats.of(x), codes, behind=behind)
    f = behind or identity
    for cut in (1.0, 0.3):
        low, high = (cut * end for end in problem.extremes)
        quantized = fake_quantize(x, *affine_params(low, high, codes), codes)
        exact = np.mean(np.abs(f(x.astype(np.float64)) - f(quantized.astype(np.float64))) ** p)
        found = error_of(problem, p, low, high)
        assert found ** (1 / p) == pytest.approx(exact ** (1 / p), rel=0.02)


def test_bins_wider_than_the_scale_are_no_obstacle() -> None:
    x = np.append(np.random.default_rng(0).uniform(-1, 1, 50_000), [500.0, -500.0])
    problem = RangeProblem(ValueStats.of(x), (0, 255))
    assert problem.stats.histogram.width > 10 * (2 / 255)
    clipped = 2 * (500 - 1) ** 2 / 50_002
    rounding = (2 / 255) ** 2 / 12
    assert error_of(problem, 2, -1, 1) - clipped == pytest.approx(rounding, abs=0.01)


def test_zeros_cost_nothing() -> None:
    problem = RangeProblem(ValueStats.of(np.zeros(9)), (0, 255))
    assert error_of(problem, 2, 0, 0) == 0.0


@pytest.mark.parametrize(
    ("bounds", "symmetric", "wanted"),
    [
        ((-np.inf, np.inf), False, (-2.0, 5.0)),
        ((0.0, 3.0), False, (0.0, 3.0)),
        ((1.0, 9.0), False, (0.0, 5.0)),
        ((-np.inf, np.inf), True, (-5.0, 5.0)),
        ((-1.0, 1.0), True, (-1.0, 1.0)),
    ],
)
def test_extremes_hold_zero_and_keep_the_bounds(
    bounds: tuple[float, float], symmetric: bool, wanted: tuple[float, float]
) -> None:
    stats = ValueStats.of(np.array([-2.0, 5.0]))
    assert RangeProblem(stats, (0, 255), symmetric, bounds).extremes == wanted


@pytest.mark.parametrize("codes", [(0, 255), (-32768, 32767)])
@pytest.mark.parametrize("behind", [None, silu])
def test_many_ranges_at_once_are_each_judged_as_alone(
    codes: tuple[int, int], behind: Behind | None
) -> None:
    stats = ValueStats.of(np.random.default_rng(0).normal(size=1000))
    problem = RangeProblem(stats, codes, behind=behind)
    low, high = np.array([0.0, -1.0, -3.0]), np.array([2.0, 1.0, 0.0])
    alone = [error_of(problem, 2, *ends) for ends in zip(low, high, strict=True)]
    np.testing.assert_allclose(error_function(problem, 2)(low, high), alone, rtol=1e-12)
