from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.runtime.matching import match_layers
from onnxq.runtime.reader_factors import reader_factors
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for

TEXT = """f (float[1,4,8,8] x, float[6,4,3,3] w, float[5,6,3,3] v) => (float[1,5,4,4] y) {
    a = Conv(x, w)
    y = Conv(a, v) }"""
W, V = rng_weight(6, 4, 3, 3), rng_weight(5, 6, 3, 3, seed=1)
DEPTHWISE = """f (float[1,4,8,8] x, float[6,4,3,3] w, float[6,1,3,3] d, float[5,6,1,1] v)
    => (float[1,5,4,4] y) {
    a = Conv(x, w)
    b = Conv<group=6>(a, d)
    y = Conv(b, v) }"""
D, P = rng_weight(6, 1, 3, 3, seed=2), rng_weight(5, 6, 1, 1, seed=3)


@settings(deadline=None, max_examples=5)
@given(st.lists(st.floats(0.1, 10), min_size=6, max_size=6))
def test_factors_are_those_that_a_dense_reader_undoes(factors: list[float]) -> None:
    f = np.asarray([*factors[:5], 12.0])
    real = build(TEXT, w=W, v=V)
    second = build(TEXT, w=W * f.reshape(-1, 1, 1, 1), v=V / f.reshape(1, -1, 1, 1))
    layers = match_layers(real, second, feeds_for(real))

    found = reader_factors(layers, real, second)

    np.testing.assert_allclose(found["a"], f, rtol=1e-5)


def test_factors_pass_through_a_depthwise_reader() -> None:
    f, g = np.linspace(0.2, 3, 6), np.linspace(4, 0.5, 6)
    real = build(DEPTHWISE, w=W, d=D, v=P)
    column = (-1, 1, 1, 1)
    second = build(
        DEPTHWISE,
        w=W * f.reshape(column),
        d=D * (g / f).reshape(column),
        v=P / g.reshape(1, -1, 1, 1),
    )
    layers = match_layers(real, second, feeds_for(real))

    found = reader_factors(layers, real, second)

    np.testing.assert_allclose(found["b"], g, rtol=1e-5)
    np.testing.assert_allclose(found["a"], f, rtol=1e-5)


def test_nothing_is_scaled_where_a_writer_is_wrong_but_its_reader_is_not() -> None:
    real = build(TEXT, w=W, v=V)
    second = build(TEXT, w=W * np.float32(2), v=V)

    assert reader_factors(match_layers(real, second, feeds_for(real)), real, second) == {}


def test_nothing_is_scaled_where_a_reader_s_whole_weight_is_too_large() -> None:
    real = build(TEXT, w=W, v=V)
    second = build(TEXT, w=W, v=V * np.float32(1.5))

    assert reader_factors(match_layers(real, second, feeds_for(real)), real, second) == {}
