from __future__ import annotations

from onnxq.passes.rewrite.remove_unused import RemoveUnused
from tests.support import assert_same_function, model


def test_nodes_and_weights() -> None:
    text = """f (float[2] x) => (float[2] y) <float[2] w = {1,2}, float[2] v = {3,4}> {
        y = Add(x, w) a = Neg(x) b = Add(a, v)
    }"""
    after = model(text)
    rewrite = RemoveUnused()
    assert rewrite(after).modified
    assert [node.op_type for node in after.graph] == ["Add"]
    assert list(after.graph.initializers) == ["w"]
    assert_same_function(model(text), after)
    assert not rewrite(after).modified


def test_graph_inputs_and_outputs_stay() -> None:
    text = (
        "f (float[2] x, float[2] z) => (float[2] y, float[1] w) <float[1] w = {1}> { y = Abs(x) }"
    )
    after = model(text)
    assert not RemoveUnused()(after).modified
    assert [value.name for value in after.graph.inputs] == ["x", "z"]
    assert_same_function(model(text), after)


def test_unused_optional_outputs() -> None:
    text = "f (float[2] x) => (float[2] y) { t, mask = Dropout(x) y = Abs(t) }"
    after = model(text)
    assert RemoveUnused()(after).modified
    assert len(after.graph.node(0).outputs) == 1
    assert_same_function(model(text), after)


def test_subgraph() -> None:
    text = """f (float[2] x, bool c) => (float[2] y) <float[2] outer = {1,2}> {
        y = If(c) <
            then_branch = t () => (float[2] p) <float[2] k = {1,2}>
                { s = Add(x, k) p = Add(x, outer) },
            else_branch = e () => (float[2] q) { q = Neg(x) }>
    }"""
    after = model(text)
    assert RemoveUnused()(after).modified
    branch = after.graph.node(0).attributes["then_branch"].as_graph()
    assert len(branch) == 1
    assert not branch.initializers
    assert list(after.graph.initializers) == ["outer"]
    assert_same_function(model(text), after)


def test_unused_domain() -> None:
    after = model(
        '<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]> '
        "f (float[2] x) => (float[2] y) { y = Abs(x) }"
    )
    assert RemoveUnused()(after).modified
    assert after.graph.opset_imports == {"": 21}


def test_nothing_to_do() -> None:
    source = model("f (float[2] x) => (float[2] y) { y = Abs(x) }")
    assert not RemoveUnused()(source).modified
