from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.contract import structural_fault
from onnxq.graph import edit
from onnxq.graph.query import weight_of
from tests.passes.rewrite.building import build, ops, rng_weight
from tests.support import assert_same_function, run

_TEXT = """f (float[3] x, float[3] k) => (float[3] y, float[3] z) {
    a = Relu(x)
    y = Add(a, k)
    z = Mul(a, k) }"""


def test_add_initializer() -> None:
    graph = build(_TEXT, k=rng_weight(3)).graph
    value = edit.add_initializer(graph, "k", np.ones((2, 1), np.float32))
    assert value.name == "k_1"
    assert graph.initializers["k_1"] is value
    assert (value.dtype, str(value.shape)) == (ir.DataType.FLOAT, "[2,1]")


def test_set_weight_changes_what_all_readers_see() -> None:
    source = build(_TEXT, k=rng_weight(3))
    edit.set_weight(source.graph.initializers["k"], np.zeros(3, np.float32))
    assert not run(source, {"x": np.ones(3, np.float32)})["z"].any()


def test_set_weight_refuses_what_is_no_weight() -> None:
    graph = build(_TEXT).graph
    with pytest.raises(ValueError, match="x is not a weight"):
        edit.set_weight(graph.inputs[0], np.zeros(3, np.float32))


def test_set_weight_copies_the_array() -> None:
    source, array = build(_TEXT, k=rng_weight(3)), np.ones(3, np.float32)
    edit.set_weight(source.graph.initializers["k"], array)
    array[:] = 7.0
    assert weight_of(source.graph.initializers["k"]).tolist() == [1.0] * 3  # type: ignore[union-attr]


def test_replace_weight_copies_what_others_read() -> None:
    source = build(_TEXT, k=rng_weight(3))
    before = run(source, {"x": np.ones(3, np.float32)})
    value = edit.replace_weight(source.graph[2], 1, np.zeros(3, np.float32))
    after = run(source, {"x": np.ones(3, np.float32)})
    assert value.name == "k_1"
    assert not after["z"].any()
    np.testing.assert_array_equal(after["y"], before["y"])


def test_replace_weight_in_place_where_nobody_else_reads() -> None:
    graph = build("f (float[3] x, float[3] k) => (float[3] y) { y = Add(x, k) }", k=[1, 2, 3]).graph
    value = edit.replace_weight(graph[0], 1, np.zeros(3, np.float32))
    assert value is graph.initializers["k"]


def test_replace_weight_adds_a_missing_input() -> None:
    graph = build(
        "f (float[2,3] x, float[3,4] w) => (float[2,4] y) { y = Gemm(x, w) }", w=rng_weight(3, 4)
    ).graph
    value = edit.replace_weight(graph[0], 2, np.zeros(4, np.float32), "bias")
    assert graph[0].inputs[2] is value
    assert value.name == "bias"


def test_new_node_is_named_typed_and_in_place() -> None:
    source = build(_TEXT, k=rng_weight(3))
    node = edit.new_node(source.graph[1], "Neg", [source.graph.inputs[0]])
    assert source.graph[1] is node
    assert (node.name, node.outputs[0].name) == ("node_y_Neg", "node_y_Neg_out")
    assert node.outputs[0].dtype is ir.DataType.FLOAT


def test_insert_after_does_not_feed_the_node_to_itself() -> None:
    source = build(_TEXT, k=rng_weight(3))
    before = source.clone()
    node = edit.insert_after(source.graph[0].outputs[0], "Identity")
    assert ops(source) == ["Relu", "Identity", "Add", "Mul"]
    assert [value.name for value in node.inputs if value] == ["a"]
    assert source.graph[2].inputs[0] is source.graph[3].inputs[0] is node.outputs[0]
    assert structural_fault(before, source) is None
    assert_same_function(before, source)


def test_insert_after_a_graph_input() -> None:
    source = build(_TEXT, k=rng_weight(3))
    before = source.clone()
    edit.insert_after(source.graph.inputs[0], "Identity")
    assert ops(source)[0] == "Identity"
    assert_same_function(before, source)


def test_insert_after_a_graph_output_keeps_the_output() -> None:
    source = build("f (float[3] x) => (float[3] a, float[3] y) { a = Relu(x)\n y = Neg(a) }")
    before = source.clone()
    edit.insert_after(source.graph[0].outputs[0], "Identity")
    assert source.graph.outputs[0].producer() is source.graph[0]
    assert_same_function(before, source)


def test_replace_uses_spares_the_producer_of_the_new_value() -> None:
    source = build(_TEXT, k=rng_weight(3))
    relu = source.graph[0].outputs[0]
    node = edit.new_node(source.graph[1], "Identity", [relu])
    edit.replace_uses(relu, node.outputs[0])
    assert node.inputs[0] is relu
    assert list(relu.uses()) == [(node, 0)]


def test_replace_uses_of_chosen_uses() -> None:
    graph = build(_TEXT, k=rng_weight(3)).graph
    edit.replace_uses(graph[0].outputs[0], graph.inputs[0], [(graph[2], 0)])
    assert graph[1].inputs[0] is graph[0].outputs[0]
    assert graph[2].inputs[0] is graph.inputs[0]


def test_take_over_keeps_name_type_shape_and_output() -> None:
    source = build("f (float[N,3] x) => (float[N,3] y) { a = Relu(x)\n y = Identity(a) }")
    before = source.clone()
    edit.take_over(source.graph[1].outputs[0], source.graph[0].outputs[0])
    assert ops(source) == ["Relu"]
    assert str(source.graph.outputs[0].shape) == "[N,3]"
    assert structural_fault(before, source) is None
    assert_same_function(before, source)


def test_take_over_refuses_to_rename_an_output() -> None:
    graph = build(
        "f (float[3] x) => (float[3] a, float[3] y) { a = Relu(x)\n y = Identity(a) }"
    ).graph
    with pytest.raises(ValueError, match="a must keep its name"):
        edit.take_over(graph[1].outputs[0], graph[0].outputs[0])


def test_remove_node_takes_its_weights_along() -> None:
    graph = build(
        "f (float[3] x, float[3] k) => (float[3] y) { a = Add(x, k)\n y = Relu(x) }", k=[1, 2, 3]
    ).graph
    edit.remove_node(graph[0])
    assert not graph.initializers
    assert len(graph) == 1


def test_remove_node_refuses_what_is_read() -> None:
    graph = build(_TEXT, k=rng_weight(3)).graph
    with pytest.raises(ValueError, match="used"):
        edit.remove_node(graph[0])


def test_remove_unread_goes_from_the_end() -> None:
    graph = build("f (float[3] x) => (float[3] y) { a = Neg(x)\n b = Neg(a)\n y = Relu(x) }").graph
    edit.remove_unread(list(graph))
    assert [node.op_type for node in graph] == ["Relu"]
