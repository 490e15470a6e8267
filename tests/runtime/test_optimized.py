"""onnxruntime's own graph as a model: the same kernels, constants under their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.runtime.optimized import optimized_model
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    import onnx_ir as ir

_TEXT = """f (float[1,8,6,6] x, float[8,8,3,3] w, float a, float b) => (float[1,8,4,4] y) {
    c = Conv(x, w)
    r = Relu(c)
    s = Mul(r, a)
    t = Sigmoid(s)
    y = Mul(t, b) }"""


def source() -> ir.Model:
    return build(_TEXT, w=rng_weight(8, 8, 3, 3), a=np.float32(0.5), b=np.float32(0.5))


def test_computes_the_same_without_further_optimizations() -> None:
    model = source()
    feeds = feeds_for(model)

    made = optimized_model(model)

    assert any(node.domain for node in made.graph)
    np.testing.assert_array_equal(run(made, feeds, "off")["y"], run(model, feeds, "all")["y"])


def test_equal_constants_stay_apart() -> None:
    constants = optimized_model(source()).graph.initializers

    assert {"a", "b"} <= set(constants)
