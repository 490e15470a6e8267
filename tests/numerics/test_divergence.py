"""The divergence against its definition, bin by bin."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.affine import affine_params
from onnxq.numerics.divergence import divergence_function
from onnxq.numerics.range_error import RangeProblem
from onnxq.numerics.statistics import ValueStats


def divergence(problem: RangeProblem, low: float, high: float) -> float:
    values = divergence_function(problem)(np.array([low]), np.array([high]))
    return float(values[0])


def by_definition(problem: RangeProblem, low: float, high: float) -> float:
    histogram = problem.stats.histogram
    scale, zero = affine_params(low, high, problem.codes)
    centres = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    codes = np.floor(centres / np.float64(scale) + zero + 0.5)
    inside = np.flatnonzero((codes >= problem.codes[0]) & (codes <= problem.codes[1]))
    counts = histogram.counts.astype(np.float64)
    p = counts[inside].copy()
    p[0] += counts[: inside[0]].sum()
    p[-1] += counts[inside[-1] + 1 :].sum()
    q = np.zeros_like(p)
    masses = []
    for code in np.unique(codes[inside][p > 0]):
        bins = np.flatnonzero((codes[inside] == code) & (p > 0))
        masses.append(max(counts[inside][bins].sum(), 0.5))
        q[bins] = masses[-1] / bins.size
    some = p > 0
    p, q = p[some] / p.sum(), q[some] / sum(masses)
    return float((p * np.log(p / q)).sum())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10),
    st.sampled_from([(0, 255), (0, 15), (-8, 7)]),
    st.floats(0.1, 1),
    st.floats(0.1, 1),
)
def test_it_is_what_the_definition_says(
    seed: int, codes: tuple[int, int], a: float, b: float
) -> None:
    x = np.random.default_rng(seed).standard_t(4, 3000)
    problem = RangeProblem(ValueStats.of(np.maximum(x, -0.5 * seed)), codes)
    low, high = problem.extremes
    found = divergence(problem, a * low, b * high)
    wanted = by_definition(problem, a * low, b * high)
    if math.isinf(found):
        scale, _ = affine_params(a * low, b * high, codes)
        assert scale < problem.stats.histogram.width
    else:
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_a_range_finer_than_the_histogram_shows_is_no_choice() -> None:
    problem = RangeProblem(ValueStats.of(np.linspace(-1, 1, 10_000)), (0, 255))
    assert divergence(problem, -0.01, 0.01) == math.inf


def test_many_ranges_at_once_are_what_they_are_one_by_one() -> None:
    x = np.random.default_rng(0).laplace(size=5000)
    problem = RangeProblem(ValueStats.of(x), (0, 15))
    low, high = problem.extremes
    cuts = np.linspace(0.1, 1, 700)
    together = divergence_function(problem)(cuts * low, cuts * high)
    assert together.shape == cuts.shape
    for i in (0, 255, 256, 699):
        assert together[i] == divergence(problem, cuts[i] * low, cuts[i] * high)


@pytest.mark.parametrize("x", [[0.0, 0.0], [5.0], [-5.0, -5.0], [0.0, 1e-30]])
def test_odd_values_have_a_finite_divergence(x: list[float]) -> None:
    data: npt.NDArray[np.float64] = np.asarray(x)
    problem = RangeProblem(ValueStats.of(data), (0, 255))
    assert math.isfinite(divergence(problem, *problem.extremes))
