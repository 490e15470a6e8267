from __future__ import annotations

from onnxq.passes.rewrite.drop_default_inputs import DropDefaultInputs
from tests.support import assert_same_function, model

LISTED = """<ir_version: 3, opset_import: ["": 9]>
f (float[1] a, float[2] x, float[2] b) => (float[2] y) <float[1] a = {2}, float[2] b = {1,2}>
{ t = Add(x, b) y = Mul(t, a) }"""


def test_fires() -> None:
    after = model(LISTED)
    rewrite = DropDefaultInputs()
    assert rewrite(after).modified
    assert [value.name for value in after.graph.inputs] == ["x"]
    assert sorted(after.graph.initializers) == ["a", "b"]
    assert_same_function(model(LISTED), after)
    assert not rewrite(after).modified


def test_real_inputs_stay() -> None:
    source = model(
        "f (float[2] x, float[2] z) => (float[2] y) <float[2] b = {1,2}> { y = Add(x, b) }"
    )
    assert not DropDefaultInputs()(source).modified
    assert [value.name for value in source.graph.inputs] == ["x", "z"]


def test_inputs_of_a_subgraph_stay() -> None:
    """A Loop binds its body's inputs by position, so none may go."""
    text = """f (float[2] x) => (float[2] y) <int64 n = {3}, bool c = {1}> {
        y = Loop(n, c, x) <body = b (int64 i, bool ci, float[2] v) => (bool co, float[2] w)
            <float[2] k = {1,2}> { co = Identity(ci) w = Add(v, k) }>
    }"""
    after = model(text)
    assert not DropDefaultInputs()(after).modified
    assert_same_function(model(text), after)


def test_unused_weight_of_an_old_model() -> None:
    """Found in models of the onnx package: such a model must still load."""
    text = LISTED.replace("t = Add(x, b)", "t = Abs(x)")
    after = model(text)
    assert DropDefaultInputs()(after).modified
    assert after.ir_version == 4
    assert_same_function(model(text), after)


def test_old_model_without_weights() -> None:
    after = model(
        '<ir_version: 3, opset_import: ["": 9]> f (float[2] x) => (float[2] y) { y = Abs(x) }'
    )
    rewrite = DropDefaultInputs()
    assert rewrite(after).modified
    assert not rewrite(after).modified
