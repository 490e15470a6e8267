"""Codes of a layer, from even steps and from a codebook."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.numerics.rounded import Wanted, rounded
from onnxq.numerics.rounding import output_error
from onnxq.numerics.second_moments import SecondMoments


def wanted(seed: int, outputs: int = 24, size: int = 32) -> Wanted:
    """A layer with weights of heavy tails, and correlated inputs."""
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(1, 400, size)) @ rng.normal(size=(size, size))).astype(np.float32)
    moments = SecondMoments(1, size)
    for part in np.array_split(rows, 4, axis=1):
        moments.add(part, part)
    weight = rng.standard_t(3, (1, outputs, size))
    return Wanted.of(weight, weight, moments, centred=False)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("per_row", [True, False])
@pytest.mark.parametrize("method", ["gptq", "gptq+cd"])
def test_a_codebook_leaves_less_error(bits: int, per_row: bool, method: str) -> None:
    one, limits = wanted(bits), (-(1 << bits - 1), (1 << bits - 1) - 1)
    even = rounded(one, limits, per_row=per_row, method=method)
    coded = rounded(one, limits, per_row=per_row, method=method, codebook=True)
    assert even.levels is None
    assert coded.levels is not None
    assert coded.levels.size <= 1 << bits
    assert np.isin(coded.codes, coded.levels).all()
    assert coded.after < 0.9 * even.after
    real = coded.codes * coded.scale
    left = output_error(real, one.target, one.damped.matrix).sum()
    assert coded.after == pytest.approx(left, rel=1e-4)


def test_where_even_steps_are_as_good_they_stay() -> None:
    one = wanted(0)
    target = np.random.default_rng(1).uniform(-1, 1, one.target.shape).astype(np.float32)
    found = rounded(one._replace(target=target, anchor=target), (-8, 7), codebook=True)
    assert found.levels is None


def test_no_scale_is_smaller_than_the_least() -> None:
    found = rounded(wanted(5), (-8, 7), least_scale=0.2, codebook=True)
    assert (found.scale >= np.float32(0.2)).all()


def test_descent_improves_on_gptq() -> None:
    one = wanted(6)
    plain, better = (
        rounded(one, (-8, 7), method=method, codebook=True) for method in ("gptq", "gptq+cd")
    )
    assert better.after < plain.after


@pytest.mark.parametrize("centred", [True, False])
def test_outputs_are_to_vary_as_they_do_in_float_where_that_is_known(centred: bool) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(1, 5, 8)).astype(np.float32)
    mix = rng.normal(size=(8, 8)) * [4, 3, 2, 1, 1, 0.5, 0.5, 0.5]
    x = (rng.normal(size=(1, 20_000, 8)) @ mix + 0.5).astype(np.float32)
    x_hat = x + 4 * rng.normal(size=x.shape).astype(np.float32)
    powers = []
    for known in (None, weight):
        moments = SecondMoments(1, 8, weight=known)
        for part, other in zip(
            np.array_split(x, 50, axis=1), np.array_split(x_hat, 50, axis=1), strict=True
        ):
            moments.add(part, other)
        found = x_hat @ Wanted.of(weight, weight, moments, centred=centred).target.swapaxes(1, 2)
        powers.append(found.var(axis=1) if centred else np.square(found).mean(axis=1))
    real = x @ weight.swapaxes(1, 2)
    wanted = real.var(axis=1) if centred else np.square(real).mean(axis=1)
    np.testing.assert_allclose(powers[1], wanted, rtol=1e-2)
    assert (powers[0] < 0.97 * wanted).all()


def test_what_is_hardly_explained_is_not_blown_up() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(1, 3, 4)).astype(np.float32)
    targets = []
    for known in (None, weight):
        moments = SecondMoments(1, 4, weight=known)
        draws = np.random.default_rng(1)
        for _ in range(50):
            x = draws.normal(size=(1, 100, 4)).astype(np.float32)
            noise = draws.normal(size=x.shape).astype(np.float32)
            moments.add(x, 0.01 * x + noise)
        targets.append(Wanted.of(weight, np.zeros_like(weight), moments, centred=True).target)
    np.testing.assert_allclose(targets[1], 1.5 * targets[0], rtol=1e-5)
