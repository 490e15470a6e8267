"""Errors of layers of which it is known by hand how large they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.numerics.channel_fit import ChannelFit
from onnxq.runtime.layer_errors import Observer, OwnOutputs, WholeError, own_errors, whole_errors
from onnxq.runtime.matching import match_layers
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Weight = npt.NDArray[np.float32]
    Factors = dict[str, npt.NDArray[np.float64]]

W1, W2, W3 = rng_weight(4, 3, 1, 1), rng_weight(5, 4, 1, 1, seed=1), rng_weight(6, 5, 1, 1, seed=2)
COLUMN = (-1, 1, 1, 1)


def chain(w1: Weight = W1, w2: Weight = W2, w3: Weight = W3) -> ir.Model:
    return build(
        """f (float[1,3,8,8] x, float[4,3,1,1] w1, float[5,4,1,1] w2, float[6,5,1,1] w3)
            => (float[1,6,8,8] y) {
            a = Conv (x, w1)
            b = Conv (a, w2)
            y = Conv (b, w3) }""",
        w1=w1,
        w2=w2,
        w3=w3,
    )


def whole(second: ir.Model, expected: Factors | None = None) -> dict[str, WholeError]:
    real = chain()
    feeds = [feeds_for(real, seed) for seed in range(3)]
    layers = match_layers(real, second, feeds[0])
    return whole_errors(layers, feeds, Observer(real, second, layers), expected or {})


def own(second: ir.Model, expected: Factors | None = None) -> dict[str, float]:
    real = chain()
    feeds = [feeds_for(real, seed) for seed in range(3)]
    layers = match_layers(real, second, feeds[0])
    observer = Observer(real, second, layers)
    errors = whole_errors(layers, feeds, observer, expected or {})
    return own_errors(layers, feeds, observer, OwnOutputs(layers, errors))


def test_equal_models_have_no_error() -> None:
    assert {name: error.decibels for name, error in whole(chain()).items()} == {
        "a": math.inf,
        "b": math.inf,
        "y": math.inf,
    }
    assert set(own(chain()).values()) == {math.inf}


def test_an_error_is_in_its_layer_and_in_all_behind_it_but_the_own_one_of_none() -> None:
    # A tenth too much is 20 dB of noise, whatever the values are.
    second = chain(w2=W2 * np.float32(1.1))

    together, alone = whole(second), own(second)

    assert together["a"].decibels == math.inf
    assert together["b"].decibels == pytest.approx(20, abs=0.01)
    assert together["y"].decibels == pytest.approx(20, abs=0.01)
    assert alone["b"] == pytest.approx(20, abs=0.01)
    assert (alone["a"], alone["y"]) == (math.inf, math.inf)


def test_channels_are_scaled_back_where_the_readers_undo_their_factors() -> None:
    factors = np.array([0.25, 2.0, 8.0, 1.0])
    second = chain(w1=W1 * factors.reshape(COLUMN), w2=W2 / factors.reshape(1, -1, 1, 1))

    scaled, plain = whole(second, {"a": factors}), whole(second)

    assert plain["a"].decibels < 20
    assert plain["a"].fit is None
    assert scaled["a"].decibels > 90
    fit = scaled["a"].fit
    assert fit is not None
    np.testing.assert_allclose(fit.factor, factors, rtol=1e-5)


def test_readers_of_scaled_channels_are_handed_them_scaled() -> None:
    factors = np.array([0.25, 2.0, 8.0, 1.0])
    second = chain(w1=W1 * factors.reshape(COLUMN), w2=W2 / factors.reshape(1, -1, 1, 1))

    assert min(own(second, {"a": factors}).values()) > 90
    assert own(second)["b"] < 20


def test_a_broken_writer_is_not_taken_for_a_scaled_one() -> None:
    factors = np.array([1.0, 2.0, 1.0, 1.0])
    noisy = rng_weight(4, 3, 1, 1, seed=9) * np.float32(0.3)
    second = chain(w1=(W1 + noisy) * factors.reshape(COLUMN), w2=W2 / factors.reshape(1, -1, 1, 1))

    error = whole(second, {"a": factors})["a"]

    assert error.fit is not None
    np.testing.assert_array_equal(error.fit.factor, factors)
    assert error.decibels < 20


def test_a_layer_behind_a_doubtful_one_takes_its_factors_from_the_readers_as_well() -> None:
    factors = np.array([0.5, 2.0, 4.0, 1.0, 1.0])
    noisy = rng_weight(4, 3, 1, 1, seed=9)
    second = chain(
        w1=W1 + noisy,
        w2=W2 * factors.reshape(COLUMN),
        w3=W3 / factors.reshape(1, -1, 1, 1),
    )

    fit = whole(second, {"b": factors})["b"].fit

    assert fit is not None
    np.testing.assert_array_equal(fit.factor, factors)


def test_a_value_whose_fit_gains_little_stays_as_it_is() -> None:
    nearly = np.array([1.0, 1.0, 1.0, 1.0001])
    noise = rng_weight(4, 3, 1, 1, seed=9) * np.float32(0.001)
    second = chain(w1=W1 * nearly.reshape(COLUMN) + noise)

    assert whole(second, {"a": nearly})["a"].fit is None


def test_own_outputs_are_in_the_float_models_terms() -> None:
    real = chain()
    feed = feeds_for(real)
    layers = match_layers(real, chain(), feed)
    fit = ChannelFit(np.array([2.0, 1.0, 1.0, 1.0]), np.zeros(4))
    wanted = Observer(real, chain(), layers).wanted(feed)

    made = OwnOutputs(layers, {"a": WholeError(20.0, fit)}).run(wanted)

    np.testing.assert_allclose(made["a"][:, 0], wanted["a"][:, 0] / 2, rtol=1e-6)
    doubled = wanted["a"] * np.array([2, 1, 1, 1], np.float32).reshape(1, -1, 1, 1)
    by_hand = np.einsum("oc,nchw->nohw", W2[:, :, 0, 0], doubled)
    np.testing.assert_allclose(made["b"], by_hand, rtol=1e-4, atol=1e-4)


def test_every_sample_is_told() -> None:
    real = chain()
    feeds = [feeds_for(real, seed) for seed in range(3)]
    layers = match_layers(real, chain(), feeds[0])
    observer, told = Observer(real, chain(), layers), list[int]()

    errors = whole_errors(layers, feeds, observer, {}, progress=told.append)
    own_errors(layers, feeds, observer, OwnOutputs(layers, errors), progress=told.append)

    assert told == [1, 2, 3, 1, 2, 3]


def test_values_whose_shape_changes_with_the_sample_are_left_out() -> None:
    text = """f (float[4] x) => (int64[1,N] y, float[M] z) {
        y = NonZero (x)
        i = Squeeze (y)
        z = Gather (x, i) }"""
    real = build(text)
    second = build(text.replace("y = NonZero (x)", "r = Relu (x) y = NonZero (r)"))
    alike, different = np.array([1, 0, 2, 0], np.float32), np.array([1, -1, 2, 0], np.float32)
    layers = match_layers(real, second, {"x": alike})

    errors = whole_errors(
        layers, [{"x": alike}, {"x": different}], Observer(real, second, layers), {}
    )

    assert errors["z"].decibels == math.inf
