from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.graph.io import to_bytes
from onnxq.passes.rewrite.fold_constants import FoldConstants
from tests.support import assert_same_function, model


def test_weight_expression() -> None:
    text = """f (float[2,3] x) => (float[2,2] y) <float[2,3] w = {1,2,3,4,5,6}, float g = {2}> {
        t = Transpose<perm = [1,0]>(w) u = Mul(t, g) y = MatMul(x, u)
    }"""
    after = model(text)
    rewrite = FoldConstants()
    assert rewrite(after).modified
    assert [node.op_type for node in after.graph] == ["MatMul"]
    assert_same_function(model(text), after)
    assert not rewrite(after).modified


def test_static_shape_chain() -> None:
    text = """f (float[2,3,4] x) => (float[2,12] y)
    <int64[1] z = {0}, int64[1] minus = {-1}> {
        s = Shape(x) n = Gather(s, z) t = Concat<axis = 0>(n, minus) y = Reshape(x, t)
    }"""
    after = model(text)
    assert FoldConstants()(after).modified
    assert [node.op_type for node in after.graph] == ["Constant", "Reshape"]
    assert_same_function(model(text), after)


def test_dynamic_batch_stays_dynamic() -> None:
    text = """f (float[N,3,4] x) => (float[N,12] y)
    <int64 z = {0}, int64 one = {1}, int64 two = {2}, int64[1] a = {0}> {
        s = Shape(x)
        n = Gather(s, z) c = Gather(s, one) w = Gather(s, two)
        cw = Mul(c, w)
        nu = Unsqueeze(n, a) cu = Unsqueeze(cw, a)
        t = Concat<axis = 0>(nu, cu)
        y = Reshape(x, t)
    }"""
    after = model(text)
    FoldConstants()(after)
    for batch in (1, 5):
        feeds = {"x": np.ones((batch, 3, 4), np.float32)}
        assert_same_function(model(text), after, feeds)


def test_large_weight_is_folded_if_it_does_not_grow() -> None:
    source = model(
        """f (float[1,2000] x, float[600,2000] w) => (float[1,600] y)
        { t = Transpose(w) y = MatMul(x, t) }"""
    )
    x, w = source.graph.inputs
    source.graph.inputs.clear()
    source.graph.inputs.append(x)
    w.const_value = ir.tensor(np.ones((600, 2000), np.float32), name="w")
    source.graph.register_initializer(w)
    assert FoldConstants()(source).modified
    assert [node.op_type for node in source.graph] == ["MatMul"]


def test_result_that_grows_much_is_left() -> None:
    text = """f (float[1] x) => (float[N] y) <float[1] one = {1}, int64[1] s = {2000000}> {
        e = Expand(one, s) y = Add(x, e)
    }"""
    after = model(text)
    FoldConstants()(after)
    assert [node.op_type for node in after.graph] == ["Expand", "Add"]


@pytest.mark.parametrize("op", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_random_values_are_left(op: str) -> None:
    after = model(
        f"f (float[2] x) => (float[2] y) <float[2] w = {{0.5,0.5}}> {{ r = {op}(w) y = Add(x, r) }}"
    )
    FoldConstants()(after)
    assert [node.op_type for node in after.graph] == [op, "Add"]


def test_graph_output_that_is_constant() -> None:
    text = (
        "f (float[2] x) => (float[2] y, float[2] c) <float[2] w = {1,2}> { y = Abs(x) c = Neg(w) }"
    )
    after = model(text)
    FoldConstants()(after)
    assert_same_function(model(text), after)


def test_fires_in_a_subgraph() -> None:
    text = """f (float[2] x, bool c) => (float[2] y) <float[2] w = {1,2}> {
        y = If(c) <
            then_branch = t () => (float[2] p) { k = Neg(w) p = Mul(x, k) },
            else_branch = e () => (float[2] q) { q = Neg(x) }>
    }"""
    after = model(text)
    assert FoldConstants()(after).modified
    assert [node.op_type for node in after.graph.all_nodes()] == ["If", "Mul", "Neg"]
    assert_same_function(model(text), after)


def test_leaves_no_notes_in_the_file() -> None:
    after = model(
        "f (float[2] x) => (float[2] y) <float[2] w = {1,2}> { k = Neg(w) y = Add(x, k) }"
    )
    FoldConstants()(after)
    assert b"folded" not in to_bytes(after)


def test_failure_of_the_folder_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Error during constant folding for node 'n'\nmore")

    monkeypatch.setattr("onnxq.passes.rewrite.fold_constants.fold_constants_ir", fail)
    rewrite = FoldConstants()
    source = model("f (float[2] x) => (float[2] y) { y = Abs(x) }")
    assert not rewrite(source).modified
    assert [note.text for note in rewrite.take_notes()] == [
        "Error during constant folding for node 'n'"
    ]


@pytest.mark.parametrize("op", ["Log", "Reciprocal", "Sqrt"])
def test_values_that_are_not_finite(op: str) -> None:
    text = f"f (float[2] x) => (float[2] y) <float[2] w = {{0,-1}}> {{ k = {op}(w) y = Add(x, k) }}"
    after = model(text)
    assert FoldConstants()(after).modified
    assert_same_function(model(text), after)
