"""Rounding by second moments: each step does what it says, on random layers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.damped import Damped
from onnxq.numerics.grid import Range
from onnxq.numerics.rounding import (
    coordinate_descent,
    fitted_scale,
    gptq,
    least_squares_target,
    output_error,
)
from onnxq.numerics.second_moments import SecondMoments

Array = npt.NDArray[np.float64]
LIMITS = (-8, 7)
GRID = Range(*LIMITS)


class Layer(NamedTuple):
    weight: Array
    x: npt.NDArray[np.float32]
    x_hat: npt.NDArray[np.float32]
    moments: SecondMoments


def layer(seed: int, groups: int = 2, outputs: int = 3, size: int = 9, rows: int = 200) -> Layer:
    """Correlated inputs, of which the quantized model delivers a disturbed copy."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(groups, size, size))
    x = (rng.normal(size=(groups, rows, size)) @ mix + 0.5).astype(np.float32)
    x_hat = (x + 0.2 * rng.normal(size=x.shape) + 0.1).astype(np.float32)
    moments = SecondMoments(groups, size)
    for part in np.array_split(np.arange(rows), 3):
        moments.add(x[:, part], x_hat[:, part])
    return Layer(rng.normal(size=(groups, outputs, size)), x, x_hat, moments)


def exact(moments: SecondMoments, *, centred: bool = False) -> Array:
    """H in float64, so that bounds can be tight."""
    return moments.matrices(centred=centred)[0].astype(np.float64)


def nearest(weight: Array, scale: Array) -> npt.NDArray[np.int32]:
    return np.clip(np.rint(weight / scale), *LIMITS).astype(np.int32)


def scales(weight: Array) -> Array:
    return np.asarray(np.abs(weight).max(axis=2, keepdims=True) / 7)


seeds = st.integers(0, 10_000)


@pytest.mark.parametrize("samples", [5, 20, 80])
def test_doubt_brings_moments_nearer_to_the_true_ones(samples: int) -> None:
    rng = np.random.default_rng(samples)
    mix = rng.normal(size=(12, 12)) / np.sqrt(12)
    true = 1.09 * mix @ mix.T
    before = after = 0.0
    for _ in range(30):
        moments = SecondMoments(1, 12, (np.zeros((1, 12), np.float32),) * 2)
        for _ in range(samples):
            # Rows of one sample hang together: 40 of them tell little more than one.
            rows = (rng.normal(size=(1, 12)) + 0.3 * rng.normal(size=(40, 12))) @ mix.T
            moments.add(*[rows[np.newaxis].astype(np.float32)] * 2)
        hessian = moments.matrices(centred=False)[0][0].astype(np.float64)
        doubt = moments.doubt[0]
        shrunk = (hessian + doubt * np.eye(12) * hessian.diagonal().mean()) / (1 + doubt)
        before += np.square(hessian - true).sum()
        after += np.square(shrunk - true).sum()
    assert after < (1 - 0.5 / np.sqrt(samples)) * before


@pytest.mark.parametrize("rows", [4, 30])
def test_doubt_is_how_far_samples_are_from_their_mean(rows: int) -> None:
    samples = np.random.default_rng(rows).normal(size=(10, 1, rows, 12)).astype(np.float32)
    moments = SecondMoments(1, 12, (np.zeros((1, 12), np.float32),) * 2)
    for sample in samples:
        moments.add(sample, sample)
    each = samples[:, 0].swapaxes(1, 2).astype(np.float64) @ samples[:, 0] / rows
    mean = each.mean(axis=0)
    level = mean.diagonal().mean() * np.eye(12)
    share = np.square(each - mean).sum() / 100 / np.square(mean - level).sum()

    wanted = min(share, 0.95) / (1 - min(share, 0.95))
    np.testing.assert_allclose(moments.doubt, [wanted], rtol=1e-4)


def test_a_single_sample_tells_nothing_about_others() -> None:
    moments = SecondMoments(2, 3)
    rows = np.random.default_rng(0).normal(size=(2, 50, 3)).astype(np.float32)
    moments.add(rows, rows)
    np.testing.assert_array_equal(moments.doubt, 0)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_moments_are_those_of_all_rows(seed: int) -> None:
    one = layer(seed)

    hessian, cross = one.moments.matrices(centred=False)
    covariance, _ = one.moments.matrices(centred=True)

    rows = one.x_hat.swapaxes(1, 2).astype(np.float64)
    np.testing.assert_allclose(hessian, rows @ one.x_hat / 200, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        cross, one.x.swapaxes(1, 2).astype(np.float64) @ one.x_hat / 200, rtol=1e-3, atol=1e-3
    )
    wanted = [np.cov(group.T, bias=True) for group in one.x_hat.astype(np.float64)]
    np.testing.assert_allclose(covariance, wanted, rtol=1e-3, atol=2e-3)


def test_moments_do_not_depend_on_how_many_rows_wait_for_others() -> None:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(2, 6, 6))
    samples = [
        ((rng.normal(size=(2, rows, 6)) + 1) @ mix).astype(np.float32)
        for rows in (1, 3, 700, 5, 900, 2500, 2)
    ]
    moments = SecondMoments(2, 6)
    for rows in samples:
        moments.add(rows, 2 * rows)
        assert np.isfinite(moments.doubt).all()
    once = SecondMoments(2, 6)
    for rows in samples:
        once.add(rows, 2 * rows)

    for found, wanted in zip(
        once.matrices(centred=True), moments.matrices(centred=True), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    every = np.concatenate(samples, axis=1).astype(np.float64)
    covariance = np.stack([np.cov(group.T, bias=True) for group in every])
    np.testing.assert_allclose(once.matrices(centred=True)[0], 4 * covariance, rtol=1e-3)
    np.testing.assert_allclose(once.matrices(centred=True)[1], 2 * covariance, rtol=1e-3)


@pytest.mark.parametrize("centred", [True, False])
def test_outputs_vary_as_the_float_layers_do(centred: bool) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 4, 6)).astype(np.float32)
    rows = (rng.normal(size=(2, 5000, 6)) * [1, 2, 0.1, 3, 1, 0] + 1).astype(np.float32)
    moments = SecondMoments(2, 6, weight=weight)
    for part in np.array_split(rows, 7, axis=1):
        moments.add(part, part + rng.normal(size=part.shape).astype(np.float32))

    outputs = rows.astype(np.float64) @ weight.swapaxes(1, 2)
    wanted = outputs.var(axis=1) if centred else np.square(outputs).mean(axis=1)
    found = moments.output_power(centred=centred)
    assert found is not None
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_without_a_weight_outputs_are_not_looked_at() -> None:
    moments = SecondMoments(1, 3)
    rows = np.ones((1, 5, 3), np.float32)
    moments.add(rows, rows)
    assert moments.output_power(centred=True) is None


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_the_quadratic_form_is_the_output_error(seed: int) -> None:
    one = layer(seed)
    hessian, _ = one.moments.matrices(centred=False)
    other = one.weight + 0.3

    error = output_error(other, one.weight, hessian.astype(np.float64))

    outputs = one.x_hat @ (other - one.weight).swapaxes(1, 2)
    np.testing.assert_allclose(error, np.square(outputs).mean(axis=1), rtol=1e-3)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_the_target_is_the_least_squares_solution(seed: int) -> None:
    one = layer(seed)
    hessian, cross = one.moments.matrices(centred=False)

    found = least_squares_target(one.weight, one.weight, Damped(hessian, 1e-9), cross)

    for group in range(2):
        wanted = one.x[group] @ one.weight[group].T
        solution, *_ = np.linalg.lstsq(one.x_hat[group].astype(np.float64), wanted, rcond=None)
        np.testing.assert_allclose(found[group], solution.T, rtol=1e-2, atol=1e-2)


def test_directions_without_samples_keep_their_weights() -> None:
    one = layer(0)
    one.x[:, :, 4] = one.x_hat[:, :, 4] = 0
    moments = SecondMoments(2, 9)
    moments.add(one.x, one.x_hat)
    hessian, cross = moments.matrices(centred=False)

    found = least_squares_target(one.weight, one.weight, Damped(hessian, 0.01), cross)

    np.testing.assert_allclose(found[:, :, 4], one.weight[:, :, 4], rtol=1e-6)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_the_factor_is_that_of_the_matrix_in_order_of_its_diagonal(seed: int) -> None:
    damped = Damped(exact(layer(seed).moments), 0.01)

    for matrix, order, upper in zip(damped.matrix, damped.order, damped.factor, strict=True):
        assert (np.diff(matrix.diagonal()[order]) >= 0).all()
        assert (np.tril(upper, -1) == 0).all()
        np.testing.assert_allclose(upper.T @ upper, matrix[np.ix_(order, order)], atol=1e-9)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_solving_undoes_the_product(seed: int) -> None:
    one = layer(seed)
    damped = Damped(exact(one.moments), 0.01)

    np.testing.assert_allclose(damped.solve(one.weight) @ damped.matrix, one.weight, atol=1e-9)


def test_a_singular_matrix_is_damped_until_it_can_be_factored() -> None:
    found = Damped(np.ones((1, 4, 4), np.float32), 0.0)

    assert np.isfinite(found.factor).all()
    np.testing.assert_allclose(found.factor[0].T @ found.factor[0], np.ones((4, 4)), atol=1e-4)


@given(seeds, st.sampled_from([5, 9, 70]))
@settings(max_examples=20, deadline=None)
def test_gptq_without_correlation_rounds_to_the_nearest(seed: int, size: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(2, 3, size))
    diagonal = np.random.default_rng(seed).uniform(0.5, 2, (2, size, 1)) * np.eye(size)
    scale = scales(weight)

    codes = gptq(weight, Damped(diagonal.astype(np.float32), 0.0), scale, GRID)

    np.testing.assert_array_equal(codes, nearest(weight, scale))


@pytest.mark.parametrize("size", [9, 150])
def test_gptq_hands_errors_on_by_the_factor_of_the_inverse(size: int) -> None:
    one = layer(1, size=size, rows=400)
    damped, scale = Damped(exact(one.moments), 0.01), scales(one.weight)

    codes = gptq(one.weight, damped, scale, GRID)

    for group in range(2):
        order = damped.order[group][::-1]
        inverse = np.linalg.inv(damped.matrix[group][np.ix_(order, order)])
        upper = np.linalg.cholesky(inverse).T
        left, step = one.weight[group][:, order], scale[group]
        wanted = np.empty(left.shape)
        for at in range(size):
            wanted[:, at] = np.clip(np.rint(left[:, at] / step[:, 0]), *LIMITS)
            error = (left[:, at] - wanted[:, at] * step[:, 0]) / upper[at, at]
            left[:, at:] -= np.outer(error, upper[at, at:])
        np.testing.assert_array_equal(codes[group][:, order], wanted)


@pytest.mark.parametrize("size", [9, 150])
def test_gptq_beats_the_nearest_on_correlated_inputs(size: int) -> None:
    ratios = []
    for seed in range(5):
        one = layer(seed, size=size, rows=400)
        damped = Damped(exact(one.moments), 0.01)
        scale = scales(one.weight)
        errors = [
            output_error(codes * scale, one.weight, damped.matrix).sum()
            for codes in (gptq(one.weight, damped, scale, GRID), nearest(one.weight, scale))
        ]
        ratios.append(errors[0] / errors[1])
    assert np.median(ratios) < 0.6


@given(seeds, st.sampled_from([9, 70]))
@settings(max_examples=20, deadline=None)
def test_descent_never_raises_the_error_of_any_output(seed: int, size: int) -> None:
    one = layer(seed, size=size)
    hessian = Damped(exact(one.moments), 0.01).matrix
    scale = scales(one.weight)
    first = nearest(one.weight, scale)

    codes = coordinate_descent(first, one.weight, hessian, scale, GRID)

    before = output_error(first * scale, one.weight, hessian)
    after = output_error(codes * scale, one.weight, hessian)
    assert (after <= before * (1 + 1e-9)).all()
    assert after.sum() < before.sum() or (codes == first).all()
    assert codes.min() >= LIMITS[0]
    assert codes.max() <= LIMITS[1]


def test_descent_ends_where_no_single_code_can_improve() -> None:
    one = layer(3, outputs=2, size=6)
    hessian = Damped(exact(one.moments), 0.01).matrix
    scale = scales(one.weight)
    codes = coordinate_descent(
        nearest(one.weight, scale), one.weight, hessian, scale, GRID, sweeps=50
    )
    best = output_error(codes * scale, one.weight, hessian)

    for column in range(6):
        for by in (-1, 1):
            other = codes.copy()
            other[:, :, column] = np.clip(other[:, :, column] + by, *LIMITS)
            assert (output_error(other * scale, one.weight, hessian) >= best - 1e-9).all()


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_fitted_scale_is_the_best_one(seed: int) -> None:
    one = layer(seed)
    hessian = Damped(exact(one.moments), 0.01).matrix
    codes = nearest(one.weight, scales(one.weight))

    scale = fitted_scale(codes, one.weight, hessian)

    best = output_error(codes * scale, one.weight, hessian)
    for factor in (0.97, 1.03):
        assert (output_error(codes * scale * factor, one.weight, hessian) >= best).all()


def test_codes_that_point_away_have_no_scale() -> None:
    codes = np.array([[[1, 0], [0, 0]]], np.int32)
    target = np.array([[[-1.0, 0.0], [1.0, 1.0]]])

    assert np.isnan(fitted_scale(codes, target, np.eye(2)[np.newaxis])).all()
