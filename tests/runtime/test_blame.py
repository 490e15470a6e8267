"""Shares of the error at the outputs that are known by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.runtime.blame import Rests, shares
from onnxq.runtime.layer_errors import Observer, OwnOutputs, whole_errors
from onnxq.runtime.matching import match_layers
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, model, run

if TYPE_CHECKING:
    import onnx_ir as ir

TWO_ARMS = """f (float[1,4] x, float[4,4] v, float[4,4] w) => (float[1,4] y, float[1,4] z) {
    a = MatMul (x, v)
    b = MatMul (x, w)
    y = Neg (a)
    z = Neg (b) }"""
V, W = rng_weight(4, 4), rng_weight(4, 4, seed=1)


def arms(left: float = 1.0, right: float = 1.0) -> ir.Model:
    return build(TWO_ARMS, v=V * np.float32(left), w=W * np.float32(right))


def found(real: ir.Model, second: ir.Model) -> dict[str, float]:
    feeds = [feeds_for(real, seed) for seed in range(2)]
    layers = match_layers(real, second, feeds[0])
    observer = Observer(real, second, layers)
    own = OwnOutputs(layers, whole_errors(layers, feeds, observer, {}))
    ends = [layer.value for layer in layers]
    return shares(Rests(real, ends, ends), feeds, observer, own)


def test_one_wrong_layer_makes_all_of_the_error() -> None:
    share = found(arms(), arms(left=1.1))

    assert share["y"] == pytest.approx(1)
    assert share["z"] == 0


def test_costs_at_several_outputs_add_up() -> None:
    # Noise over signal is 0.1² at y and 0.2² at z.
    share = found(arms(), arms(left=1.1, right=1.2))

    assert share["y"] == pytest.approx(0.2, rel=1e-3)
    assert share["z"] == pytest.approx(0.8, rel=1e-3)


def test_errors_of_layers_may_cancel() -> None:
    text = """f (float[1,4] x, float[4,4] v, float[4,4] w) => (float[1,4] y) {
        a = MatMul (x, v)
        b = MatMul (a, w)
        y = Neg (b) }"""
    second = build(text, v=V * np.float32(2), w=W * np.float32(0.5001))

    share = found(build(text, v=V, w=W), second)

    assert share["a"] > 1000
    assert share["y"] > 1000


def test_equal_models_have_nothing_to_share() -> None:
    assert found(arms(), arms()) == {}


def test_an_end_that_is_returned_counts_itself_and_what_it_leads_to() -> None:
    source = model("f (float[3] x) => (float[3] a, float[3] y) { a = Exp (x) y = Neg (a) }")
    x = np.zeros(3, np.float32)
    changed = np.full(3, 5, np.float32)

    outputs = Rests(source, ["a"], ["a", "y"]).run({"x": x, "a": x + 1, "y": x - 1}, "a", changed)

    assert outputs["a"].tolist() == [5, 5, 5]
    assert outputs["y"].tolist() == [-5, -5, -5]


def test_what_does_not_depend_on_the_value_is_not_computed_again() -> None:
    source = build(TWO_ARMS.replace("z = Neg (b)", "z = Add (a, b)"), v=V, w=W)
    feed = feeds_for(source)
    known = {**feed, "b": np.full((1, 4), 7, np.float32)}
    a = np.zeros((1, 4), np.float32)

    outputs = Rests(source, ["a"], ["a", "b"]).run(known, "a", a)

    assert outputs["z"].tolist() == [[7, 7, 7, 7]]


def test_what_is_not_known_is_computed_again() -> None:
    source = build(TWO_ARMS.replace("z = Neg (b)", "z = Add (a, b)"), v=V, w=W)
    feed = feeds_for(source)
    a = np.zeros((1, 4), np.float32)

    outputs = Rests(source, ["a"], ["a"]).run(feed, "a", a)

    np.testing.assert_allclose(outputs["z"], feed["x"] @ W, rtol=1e-5)
    assert set(outputs) == {*run(source, feed)}


def test_an_output_that_does_not_depend_on_the_value_is_not_run() -> None:
    assert set(Rests(arms(), ["a"], ["a"]).run(feeds_for(arms()), "a", V[:1])) == {"y"}
