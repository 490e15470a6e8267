from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.codebook import GREATEST_LEVEL, fitted_codebook
from onnxq.numerics.scale_search import searched_scale

Array = npt.NDArray[np.float64]


def error(rows: Array, importance: Array, count: int, *, per_row: bool = True) -> float:
    """Squared error of the nearest levels."""
    found = fitted_codebook(rows, importance, count, per_row=per_row)
    assert found is not None
    real = found.codebook.nearest(rows / found.scale) * found.scale
    return float((importance * (real - rows) ** 2).sum())


def even_error(rows: Array, count: int) -> float:
    """Squared error of even steps with the best scales."""
    flat = rows.reshape(-1, rows.shape[2]).astype(np.float32)
    scale = searched_scale(flat, 0, (-count // 2, count // 2 - 1)).reshape(-1, 1)
    codes = np.clip(np.rint(flat / scale), -count // 2, count // 2 - 1)
    return float(((codes * scale - flat) ** 2).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 4, 8, 16]), st.booleans())
def test_levels_and_scales_are_what_integer_kernels_take(
    seed: int, count: int, per_row: bool
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_t(4, (2, 5, 12)) * rng.uniform(0.01, 9, (2, 5, 1))
    found = fitted_codebook(rows, np.ones(1), count, per_row=per_row)
    assert found is not None
    levels = found.codebook.levels
    assert levels.dtype == np.int32
    assert 2 <= levels.size <= count
    assert (np.diff(levels) > 0).all()
    assert np.abs(levels).max() == GREATEST_LEVEL
    assert found.scale.dtype == np.float32
    assert found.scale.shape == (2, 5, 1)
    assert (found.scale > 0).all()
    assert per_row or np.unique(found.scale).size == 1


@pytest.mark.parametrize(("count", "gain"), [(16, 1.5), (8, 1.3), (4, 1.2)])
def test_heavy_tails_get_a_smaller_error_than_from_even_steps(count: int, gain: float) -> None:
    rows = np.random.default_rng(0).laplace(size=(1, 64, 256))
    assert gain * error(rows, np.ones(1), count) < even_error(rows, count)


def test_normal_weights_come_near_what_is_possible() -> None:
    # Max 1960, "Quantizing for minimum distortion", table I: 16 levels leave 0.009497
    rows = np.random.default_rng(1).normal(size=(1, 100, 1000))
    assert error(rows, np.ones(1), 16) / rows.size < 0.0099


def test_few_distinct_weights_are_hit() -> None:
    levels = np.array([-64.0, -20, 0, 3, 40])
    rows = np.random.default_rng(2).choice(levels, (1, 30, 50))
    # rows of the same spread, so that a scale each is no way out
    assert error(rows, np.ones(1), 16, per_row=False) < 1e-3 * (rows**2).sum()


def test_what_counts_more_is_met_better() -> None:
    rows = np.random.default_rng(3).laplace(size=(1, 32, 64))
    weight = np.where(np.arange(64) < 8, 100.0, 1.0)
    assert error(rows, weight, 8) < error_of(rows, weight, 8)


def error_of(rows: Array, importance: Array, count: int) -> float:
    """As :func:`error`, fitted as if all weights counted alike."""
    found = fitted_codebook(rows, np.ones(1), count)
    assert found is not None
    real = found.codebook.nearest(rows / found.scale) * found.scale
    return float((importance * (real - rows) ** 2).sum())


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_equal_weights_need_no_codebook(value: float) -> None:
    assert fitted_codebook(np.full((1, 3, 4), value), np.ones(1), 16) is None


def test_rows_of_zeros_get_a_scale() -> None:
    rows = np.random.default_rng(4).normal(size=(1, 3, 8))
    rows[0, 1] = 0
    found = fitted_codebook(rows, np.ones(1), 16)
    assert found is not None
    assert (found.scale > 0).all()
    assert np.isfinite(found.scale).all()
