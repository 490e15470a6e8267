from __future__ import annotations

import pytest

from onnxq.graph.layers import LayerKind, layer_kinds, layer_macs, reads_integers, uncounted
from tests.passes.rewrite.building import build, rng_weight
from tests.support import model

CONVS = """f (float[1, 4, 8, 8] x, float[8, 4, 1, 1] a, float[8, 1, 3, 3] d, float[8, 4, 3, 3] g)
    => (float[1, 8, 4, 4] y) {
    c = Conv (x, a)
    e = Conv <group = 8> (c, d)
    y = Conv <group = 2> (e, g)
}"""


def test_kinds_tell_kernel_and_groups_apart_and_the_most_work_comes_first() -> None:
    source = build(
        CONVS, a=rng_weight(8, 4, 1, 1), d=rng_weight(8, 1, 3, 3), g=rng_weight(8, 4, 3, 3)
    )
    assert layer_kinds(source, {}) == [
        LayerKind("Conv 3×3 grouped", 1, 8 * 4 * 4 * 4 * 9),
        LayerKind("Conv 3×3 depthwise", 1, 8 * 6 * 6 * 9),
        LayerKind("Conv 1×1", 1, 8 * 8 * 8 * 4),
    ]


def test_a_layer_of_unknown_shape_is_counted_as_such() -> None:
    source = model("f (float[1, A] x, float[A, B] w) => (float[1, B] y) { y = MatMul (x, w) }")
    assert layer_kinds(source, {}) == [LayerKind("MatMul", 1, 0, unknown=1)]
    shapes = {"x": (1, 3), "w": (3, 5), "y": (1, 5)}
    assert layer_kinds(source, shapes) == [LayerKind("MatMul", 1, 15)]


@pytest.mark.parametrize(
    ("call", "macs"),
    [
        ("ConvInteger (x, w)", 8 * 36 * 36),
        ("QLinearConv (x, s, z, w, s, z, s, z)", 8 * 36 * 36),
        ("Relu (x)", 0),
    ],
)
def test_integer_convolutions_count_like_float_ones(call: str, macs: int) -> None:
    node = model(
        f"f (uint8[1, 4, 8, 8] x, uint8[8, 4, 3, 3] w, float s, uint8 z) => (y) {{ y = {call} }}"
    ).graph[0]
    assert layer_macs(node, {"y": (1, 8, 6, 6)}) == macs


def test_integer_products_count_like_float_ones() -> None:
    node = model(
        "f (uint8[2, 3] x, uint8[3, 5] w, float s, uint8 z) => (y) "
        "{ y = QLinearMatMul (x, s, z, w, s, z, s, z) }"
    ).graph[0]
    assert layer_macs(node, {"y": (2, 5)}) == 30
    assert layer_macs(node, {}) is None


def test_only_layers_with_both_factors_dequantized_read_integers() -> None:
    graph = model(
        """f (uint8[2, 3] a, uint8[3, 5] b, float s, uint8 z, float[3, 5] w) => (p, q, r) {
        x = DequantizeLinear (a, s, z)
        v = DequantizeLinear (b, s, z)
        p = MatMul (x, v)
        q = MatMul (x, w)
        r = MatMulInteger (a, b)
    }"""
    ).graph
    assert [reads_integers(node) for node in graph] == [False, False, True, False, True]


def test_what_multiplies_and_is_not_counted_is_named() -> None:
    source = model('f (float[3, 3] x) => (y) { y = Einsum <equation = "ij,jk->ik"> (x, x) }')
    assert uncounted(source) == {"Einsum": 1}
    assert uncounted(model("f (float[3] x) => (y) { y = Relu (x) }")) == {}
