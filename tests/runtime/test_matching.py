from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.runtime.matching import match_layers
from tests.passes.rewrite.building import build, rng_weight
from tests.planted import chain, quantized
from tests.support import feeds_for, model

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.runtime.matching import MatchedLayer


def match(first: ir.Model, second: ir.Model) -> dict[str, MatchedLayer]:
    return {layer.value: layer for layer in match_layers(first, second, feeds_for(first))}


def test_quantized_values_are_compared_as_their_readers_see_them() -> None:
    source = chain()

    layers = match(source, quantized(source))

    assert list(layers) == ["r1", "r2", "r3", "r4", "y"]
    assert layers["r2"].found == "r2_dequantized"
    assert layers["y"].found == "y"
    assert (layers["r2"].node, layers["r2"].op) == ("node_c2", "Conv")
    assert dict(layers["r2"].sources) == {"r1_dequantized": "r1"}


def test_float_models_are_matched_at_heavy_nodes_and_outputs() -> None:
    text = """f (float[1,4,8,8] x, float[6,4,3,3] w) => (float[1,6,6,6] y) {
        a = Conv(x, w)
        b = Sigmoid(a)
        c = Exp(b)
        y = Neg(c) }"""
    first, second = (build(text, w=rng_weight(6, 4, 3, 3)) for _ in range(2))

    layers = match(first, second)

    assert list(layers) == ["a", "y"]
    assert layers["y"].node == "node_y"


def test_values_of_other_shapes_or_types_are_not_common() -> None:
    first = model("f (float[2,3] x) => (float[2,3] y) { a = Exp(x) y = Neg(a) }")
    second = model("f (float[2,3] x) => (float[3,2] y) { y = Transpose(x) }")

    assert match(first, second) == {}
