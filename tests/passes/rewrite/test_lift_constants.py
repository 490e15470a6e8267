from __future__ import annotations

import pytest

from onnxq.passes.rewrite.lift_constants import LiftConstants
from tests.support import assert_same_function, model


@pytest.mark.parametrize(
    "constant",
    [
        "Constant<value = float[2] {1,2}>()",
        "Constant<value_floats = [1.0, 2.0]>()",
        "Constant<value_float = 1.5>()",
    ],
    ids=["tensor", "floats", "float"],
)
def test_fires(constant: str) -> None:
    text = f"f (float[2] x) => (float[2] y) {{ c = {constant} y = Add(x, c) }}"
    after = model(text)
    rewrite = LiftConstants()
    assert rewrite(after).modified
    assert list(after.graph.initializers) == ["c"]
    assert [note.where for note in rewrite.take_notes()] == ["c"]
    assert_same_function(model(text), after)
    assert not rewrite(after).modified


def test_graph_output_stays() -> None:
    text = """f (float[2] x) => (float[2] y, float[2] c)
    { c = Constant<value = float[2] {1,2}>() y = Add(x, c) }"""
    after = model(text)
    assert not LiftConstants()(after).modified
    assert_same_function(model(text), after)


def test_fires_in_a_subgraph() -> None:
    text = """f (float[2] x, bool c) => (float[2] y) {
        y = If(c) <
            then_branch = t () => (float[2] p) { k = Constant<value_float = 2.0>() p = Mul(x, k) },
            else_branch = e () => (float[2] q) { q = Neg(x) }>
    }"""
    after = model(text)
    assert LiftConstants()(after).modified
    assert "Constant" not in [node.op_type for node in after.graph.all_nodes()]
    assert_same_function(model(text), after)
