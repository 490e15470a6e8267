from __future__ import annotations

import math

import numpy as np
import pytest

from onnxq.graph.io import to_bytes
from onnxq.runtime.compare import Reference
from tests.passes.rewrite.building import build
from tests.support import model


def test_a_reference_judges_many_models() -> None:
    def scaled(factor: float) -> bytes:
        source = build("f (float[N] x, float k) => (float[N] y) { y = Mul(x, k) }", k=factor)
        return to_bytes(source)

    feeds = [{"x": np.array([1, 2, 3], np.float32)}, {"x": np.array([9], np.float32)}]
    reference = Reference(scaled(1.0), iter(feeds))
    assert reference.sqnr(scaled(1.1))["y"] == pytest.approx(20, abs=1e-4)
    assert reference.sqnr(scaled(1.01))["y"] == pytest.approx(40, abs=1e-2)
    assert reference.sqnr(scaled(1.0))["y"] == math.inf


def test_outputs_that_are_no_floats_or_differ_in_shape_are_left_out() -> None:
    source = model(
        """f (float[2,3] x) => (float[2,3] y, int64[2] z) {
            y = Neg(x)
            z = ArgMax<axis=1, keepdims=0>(x) }"""
    )
    other = model(
        """f (float[2,3] x) => (float[3,2] y, int64[2] z) {
            n = Neg(x)
            y = Transpose(n)
            z = ArgMax<axis=1, keepdims=0>(x) }"""
    )
    feeds = [{"x": np.ones((2, 3), np.float32)}]
    assert set(Reference(source, feeds).sqnr(source)) == {"y"}
    assert Reference(source, feeds).sqnr(other) == {}


def test_no_samples_compare_nothing() -> None:
    source = model("f (float[2] x) => (float[2] y) { y = Neg(x) }")
    assert Reference(source, []).sqnr(source) == {}
