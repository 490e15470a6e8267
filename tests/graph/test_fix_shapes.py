from __future__ import annotations

import onnx_ir as ir

from onnxq.graph.fix_shapes import fix_shapes
from tests.passes.rewrite.building import build


def test_open_sizes_become_those_of_a_sample() -> None:
    model = build(
        """f (float[N,4] x, float[2,4] z) => (float[N,4] y, float[2,4] w) {
            y = Relu(x)
            a = Relu(x)
            w = Add(a, z) }"""
    )
    inner = list(model.graph)[1].outputs[0]
    assert inner.shape == ir.Shape(["N", 4])
    assert fix_shapes(model, {"x": (1, 4), "z": (2, 4), "y": (2, 4)}) == ["x", "y"]
    x, z = model.graph.inputs
    assert (x.shape, z.shape) == (ir.Shape([1, 4]), ir.Shape([2, 4]))
    assert model.graph.outputs[0].shape == ir.Shape([2, 4])
    assert inner.shape is None


def test_known_sizes_stay() -> None:
    model = build("f (float[1,4] x) => (float[1,4] y) { a = Relu(x)\ny = Relu(a) }")
    assert fix_shapes(model, {"x": (3, 4), "y": (3, 4)}) == []
    assert next(iter(model.graph)).outputs[0].shape == ir.Shape([1, 4])
