from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.numerics.affine import affine_params
from onnxq.numerics.divergence import divergence_function
from onnxq.numerics.range_error import error_function
from onnxq.numerics.range_search import RangeProblem, kl, lp, minmax, mse, percentile
from onnxq.numerics.statistics import ValueStats
from tests.numerics.ranges import error_of, leaky, silu

ARRAYS = hnp.arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.floats(-100, 100, width=32) | st.floats(-1, 1, width=32) | st.just(0.0),
)
BOUNDS = st.sampled_from([(-np.inf, np.inf), (0.0, np.inf), (0.0, 6.0), (-3.0, 3.0)])
CODES = st.sampled_from([(0, 255), (-8, 7), (0, 15), (-128, 127)])


@settings(max_examples=60, deadline=None)
@given(ARRAYS, CODES, BOUNDS, st.booleans(), st.sampled_from([1, 2, 3.3]), st.sampled_from([0, 1]))
def test_the_best_range_is_legal_and_no_worse_than_minmax(
    x: npt.NDArray[np.float32],
    codes: tuple[int, int],
    bounds: tuple[float, float],
    symmetric: bool,
    p: float,
    behind: int,
) -> None:
    problem = RangeProblem(
        ValueStats.of(x), codes, symmetric, bounds, behind=leaky if behind else None
    )
    low, high, error = lp(problem, p)
    widest = minmax(problem)
    assert widest.low <= low <= 0.0 <= high <= widest.high
    assert error <= error_of(problem, p, widest.low, widest.high) ** (1 / p) * (1 + 1e-9)
    assert error == pytest.approx(error_of(problem, p, low, high) ** (1 / p), rel=1e-9, abs=1e-12)
    assert not symmetric or low == -high
    assert affine_params(low, high, codes)[0] > 0


@settings(max_examples=40, deadline=None)
@given(ARRAYS, CODES)
def test_the_same_statistics_give_the_same_range(
    x: npt.NDArray[np.float32], codes: tuple[int, int]
) -> None:
    assert mse(RangeProblem(ValueStats.of(x), codes)) == mse(
        RangeProblem(ValueStats.of(x[::-1]), codes)
    )


@settings(max_examples=40, deadline=None)
@given(ARRAYS, CODES, BOUNDS, st.booleans())
def test_the_range_of_least_divergence_stays_inside_the_data_and_is_no_worse_than_all_of_it(
    x: npt.NDArray[np.float32], codes: tuple[int, int], bounds: tuple[float, float], symmetric: bool
) -> None:
    problem = RangeProblem(ValueStats.of(x), codes, symmetric, bounds)
    low, high, error = kl(problem)
    widest = minmax(problem)
    assert widest.low <= low <= 0.0 <= high <= widest.high
    assert not symmetric or low == -high
    divergences = divergence_function(problem)(
        np.array([low, widest.low]), np.array([high, widest.high])
    )
    assert divergences[0] <= divergences[1]
    assert error == pytest.approx(error_of(problem, 2, low, high) ** 0.5, rel=1e-9, abs=1e-12)
    assert kl(RangeProblem(ValueStats.of(x[::-1]), codes, symmetric, bounds)) == (low, high, error)


SHAPES: dict[str, Callable[[np.random.Generator], npt.NDArray[np.float64]]] = {
    "laplace": lambda rng: rng.laplace(0.5, size=20_000),
    "relu": lambda rng: np.maximum(rng.standard_normal(20_000), 0),
    "outliers": lambda rng: np.append(rng.standard_normal(20_000), [40.0, -7.0]),
    "skew": lambda rng: rng.gamma(1.0, 1.0, 20_000) - 0.3,
    "uniform": lambda rng: rng.uniform(-1, 3, 20_000),
    "few": lambda rng: rng.standard_normal(50),
}


def _every_range(problem: RangeProblem) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    low, high = problem.extremes
    grid = np.linspace(1 / 40, 1, 40)
    a, b = np.meshgrid(grid if low < 0 else np.ones(1), grid)
    return a.reshape(-1) * low, b.reshape(-1) * high


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.integers(0, 3),
    st.sampled_from([(0, 255), (0, 15), (-2, 1)]),
    st.sampled_from([1, 1.5, 2, 2.4, 3, 4]),
)
def test_no_range_has_a_notably_lesser_error(
    shape: str, seed: int, codes: tuple[int, int], p: float
) -> None:
    x = SHAPES[shape](np.random.default_rng(seed))
    problem = RangeProblem(ValueStats.of(x), codes)
    lows, highs = _every_range(problem)
    error = error_function(problem, p)
    least = min(
        float(error(lows[i : i + 512], highs[i : i + 512]).min()) for i in range(0, lows.size, 512)
    )
    assert lp(problem, p).error <= least ** (1 / p) * 1.02


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.integers(0, 3), CODES)
def test_no_range_has_a_notably_lesser_divergence(
    shape: str, seed: int, codes: tuple[int, int]
) -> None:
    x = SHAPES[shape](np.random.default_rng(seed))
    problem = RangeProblem(ValueStats.of(x), codes)
    divergence = divergence_function(problem)
    low, high, _ = kl(problem)
    found = float(divergence(np.array([low]), np.array([high]))[0])
    assert found <= float(divergence(*_every_range(problem)).min()) * 1.1 + 1e-4


def test_least_divergence_gives_up_a_rare_outlier() -> None:
    x = np.append(np.random.default_rng(0).standard_normal(50_000), 40.0)
    problem = RangeProblem(ValueStats.of(x), (0, 255))
    assert 3 < kl(problem).high < 8


def test_minmax_is_the_range_of_the_data() -> None:
    problem = RangeProblem(ValueStats.of(np.array([0.5, -1.5, 4.0])), (0, 255))
    assert minmax(problem)[:2] == (-1.5, 4.0)


def test_the_search_finds_the_minimum_of_a_full_grid() -> None:
    x = np.random.default_rng(0).laplace(0.5, size=50_000).astype(np.float32)
    problem = RangeProblem(ValueStats.of(x), (0, 15))
    low, high = problem.extremes
    a, b = (grid.reshape(-1) for grid in np.meshgrid(*[np.linspace(0.02, 1, 50)] * 2))
    grid = error_function(problem, 2)(a * low, b * high).min()
    assert mse(problem).error <= np.sqrt(grid) * 1.002


def test_a_tail_behind_silu_is_given_up() -> None:
    x = np.random.default_rng(0).normal(0, 10, 50_000).astype(np.float32)
    stats = ValueStats.of(x)
    plain, behind = (mse(RangeProblem(stats, (0, 255), behind=f)) for f in (None, silu))
    assert plain.low < -25
    assert -8 < behind.low <= 0
    assert behind.high == pytest.approx(plain.high, rel=0.15)


def test_a_rare_outlier_is_clipped_by_small_p_and_kept_by_large() -> None:
    x = np.random.default_rng(0).uniform(0, 1, 50_000)
    x[0] = 4.0
    problem = RangeProblem(ValueStats.of(x), (0, 15))
    assert lp(problem, 2).high < 1.5
    assert lp(problem, 8).high > 3.0


def test_percentile_leaves_out_both_tails() -> None:
    x = np.linspace(-1, 3, 100_001)
    low, high, _ = percentile(RangeProblem(ValueStats.of(x), (0, 255)), 99.0)
    assert low == pytest.approx(-0.96, abs=0.005)
    assert high == pytest.approx(2.96, abs=0.005)


def test_percentile_100_is_minmax() -> None:
    x = np.random.default_rng(0).standard_normal(5000)
    problem = RangeProblem(ValueStats.of(x), (0, 255))
    assert percentile(problem, 100.0) == minmax(problem)


def test_percentile_of_mostly_zeros_keeps_a_range_that_holds_zero() -> None:
    x = np.zeros(100_000)
    x[0] = 1.0
    assert percentile(RangeProblem(ValueStats.of(x), (0, 255)), 99.9)[:2] == (0.0, 0.0)


@pytest.mark.parametrize("method", [minmax, kl, mse, percentile], ids=lambda f: f.__name__)
def test_a_value_that_is_always_zero_has_an_empty_range(method: object) -> None:
    assert callable(method)
    assert tuple(method(RangeProblem(ValueStats.of(np.zeros(4)), (0, 255)))) == (0.0, 0.0, 0.0)
