from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.passes.rewrite.infer_shapes import InferShapes
from tests.support import model

if TYPE_CHECKING:
    import pytest


def shape_of(source: ir.Model, name: str) -> str:
    values = {v.name: v for node in source.graph.all_nodes() for v in node.outputs}
    return str(values[name].shape)


def test_fires() -> None:
    source = model("f (float[2,3] x) => (float[3,2] y) { t = Transpose(x) y = Relu(t) }")
    rewrite = InferShapes()
    assert rewrite(source).modified
    assert shape_of(source, "t") == "[3,2]"
    assert not rewrite(source).modified


def test_dynamic_name_is_passed_on() -> None:
    source = model("f (float[batch,3] x) => (float[batch,3] y) { t = Relu(x) y = Relu(t) }")
    InferShapes()(source)
    assert shape_of(source, "t") == "[batch,3]"


def test_stated_shape_is_never_changed() -> None:
    source = model("f (float[2,3] x) => (float[rows,columns] y) { y = Relu(x) }")
    assert not InferShapes()(source).modified
    assert shape_of(source, "y") == "[rows,columns]"


def test_output_without_a_shape_stays() -> None:
    source = model("f (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    source.graph.outputs[0].shape = None
    assert not InferShapes()(source).modified


def test_made_up_names_are_not_taken_over() -> None:
    source = model("f (float[2,3] x) => (int64[2,N] y) { t = NonZero(x) y = Abs(t) }")
    InferShapes()(source)
    assert "unk" not in shape_of(source, "t")


def test_a_made_up_name_gives_way_to_what_is_found_later() -> None:
    source = model("f (float[N,3] x) => (float[N,3] y) { t = Relu(x) y = Abs(t) }")
    source.graph[0].outputs[0].shape = ir.Shape(["unk__7", "unk__8"])
    assert InferShapes()(source).modified
    assert shape_of(source, "t") == "[N,3]"


def test_computed_shape_is_known() -> None:
    source = model(
        """f (float[N,3,4] x) => (float[N,12] y) <int64[1] z = {0}, int64[1] m = {12}> {
        s = Shape(x) n = Gather(s, z) t = Concat<axis = 0>(n, m) r = Reshape(x, t) y = Relu(r) }"""
    )
    InferShapes()(source)
    assert shape_of(source, "r").endswith(",12]")


def test_fires_in_a_subgraph() -> None:
    source = model(
        """f (float[2] x, bool c) => (float[2] y) {
        y = If(c) <
            then_branch = t () => (float[2] p) { s = Exp(x) p = Neg(s) },
            else_branch = e () => (float[2] q) { q = Neg(x) }> }"""
    )
    assert InferShapes()(source).modified
    assert shape_of(source, "s") == "[2]"


def test_model_that_contradicts_itself_is_left() -> None:
    source = model(
        "f (float[2,3] x, float[5,2] w) => (float[9] y) { t = MatMul(x, w) y = Relu(t) }"
    )
    InferShapes()(source)
    assert [node.op_type for node in source.graph] == ["MatMul", "Relu"]


def test_failure_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no idea\nwhere")

    monkeypatch.setattr("onnx.shape_inference.infer_shapes", fail)
    rewrite = InferShapes()
    text = "f (float[2] x) => (float[2] y) { t = Abs(x) y = Neg(t) }"
    assert not rewrite(model(text)).modified
    assert [note.text for note in rewrite.take_notes()] == ["no idea"]


def test_what_is_known_whole_is_not_inferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("onnx.shape_inference.infer_shapes")
    rewrite = InferShapes()
    assert not rewrite(model("f (float[N,2] x) => (float[N,2] y) { y = Abs(x) }")).modified
    assert not rewrite.take_notes()
