from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxq.graph.qdq import Affine, GraphEditor
from onnxq.graph.spec import violations_qdq
from tests.passes.rewrite.building import build
from tests.support import run

_TEXT = "f (float[2,3] x) => (float[2,3] y) { a = Neg(x) y = Neg(a) }"


def _affine(scale: float = 0.5, zero_point: int = 10) -> Affine:
    return Affine(np.asarray(scale, np.float32), np.asarray(zero_point, np.uint8))


def test_equal_scalars_share_one_constant() -> None:
    editor = GraphEditor(build(_TEXT).graph)
    a = editor.constant("a", np.asarray(0.5, np.float32))
    assert editor.constant("b", np.asarray(0.5, np.float32)) is a
    assert editor.constant("b", np.asarray([0.5], np.float32)) is not a
    assert editor.constant("b", np.asarray(0.5, np.float64)) is not a
    assert editor.constant("b", np.asarray(1, np.int8)) is not editor.constant(
        "b", np.asarray(1, np.uint8)
    )


def test_long_constants_are_stored_apart() -> None:
    editor = GraphEditor(build(_TEXT).graph)
    assert editor.constant("a", np.ones(3)) is not editor.constant("a", np.ones(3))


def test_a_pair_behind_a_node_computes_as_it_says() -> None:
    source = build(_TEXT)
    value = source.graph[0].outputs[0]
    editor = GraphEditor(source.graph)
    codes = editor.quantize(value, _affine(), after=source.graph[0], before=None)
    reals = editor.dequantize(codes, _affine(), stem="a", after=codes.producer())
    source.graph.node("node_y").replace_input_with(0, reals)
    assert violations_qdq(source) == []
    assert codes.dtype == ir.DataType.UINT8
    assert reals.shape == value.shape
    x = np.array([[-1.3, 0.2, 0.3], [5, 5.2, 1000]], np.float32)
    wanted = -np.clip(np.rint(-x / 0.5) + 10, 0, 255) * 0.5 + 5
    np.testing.assert_array_equal(run(source, {"x": x})["y"], wanted.astype(np.float32))


def test_without_a_place_a_node_comes_first() -> None:
    source = build(_TEXT)
    editor = GraphEditor(source.graph)
    codes = editor.quantize(source.graph.inputs[0], _affine(), after=None, before=None)
    assert source.graph[0] is codes.producer()


def test_a_graph_without_nodes_takes_one() -> None:
    graph = ir.Graph([ir.val("x", ir.DataType.FLOAT, [2])], [], nodes=[])
    codes = GraphEditor(graph).quantize(graph.inputs[0], _affine(), after=None, before=None)
    assert [node.op_type for node in graph] == ["QuantizeLinear"]
    assert codes.producer() is graph[0]


def test_a_scale_per_axis_is_an_attribute_and_a_zero_point_may_be_absent() -> None:
    editor = GraphEditor(build(_TEXT).graph)
    affine = Affine(np.ones(3, np.float32), None, axis=1)
    codes = editor.constant("codes", np.ones((2, 3), np.int8))
    node = editor.dequantize(codes, affine, stem="w").producer()
    assert node is not None
    assert node.attributes["axis"].value == 1
    assert len(node.inputs) == 2
    assert "axis" not in _affine().attributes
