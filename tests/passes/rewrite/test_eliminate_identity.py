from __future__ import annotations

import pytest

from onnxq.passes.rewrite.eliminate_identity import EliminateIdentity
from tests.support import assert_same_function, model

IF = """f (float[2] x, bool c) => (float[2] y) {{
    a = Abs(x)
    y = If(c) <
        then_branch = t () => (float[2] p) {{ {then} }},
        else_branch = e () => (float[2] q) {{ q = Neg(a) }}>
}}"""


@pytest.mark.parametrize(
    ("text", "ops"),
    [
        ("f (float[2] x) => (float[2] y) { t = Identity(x) y = Relu(t) }", ["Relu"]),
        ("f (float[2] x) => (float[2] y) { t = Relu(x) y = Identity(t) }", ["Relu"]),
        (
            "f (float[2] x) => (float[2] y, float[2] z) { t = Relu(x) y = Identity(t) z = Neg(t) }",
            ["Relu", "Neg"],
        ),
        (
            "f (float[2] x) => (float[2] y) { s = Identity(x) t = Identity(s) y = Abs(t) }",
            ["Abs"],
        ),
        (
            "f (float[2] x) => (float[2] y) <float[2] w = {1,2}> { t = Identity(w) y = Add(x, t) }",
            ["Add"],
        ),
        (IF.format(then="s = Identity(a) p = Exp(s)"), ["Abs", "If", "Exp", "Neg"]),
        (IF.format(then="s = Exp(a) p = Identity(s)"), ["Abs", "If", "Exp", "Neg"]),
    ],
    ids=["inside", "before output", "value read twice", "chain", "weight", "outer", "subgraph"],
)
def test_fires(text: str, ops: list[str]) -> None:
    before, after = model(text), model(text)
    rewrite = EliminateIdentity()
    assert rewrite(after).modified
    assert [node.op_type for node in after.graph.all_nodes()] == ops
    assert_same_function(before, after)
    assert not rewrite(after).modified


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f (float[2] x) => (float[2] y) { y = Identity(x) }", "outside"),
        (
            (
                "f (float[2] x) => (float[2] x2, float[2] y) <float[2] w = {1,2}> "
                "{ x2 = Relu(x) y = Identity(w) }"
            ),
            "outside",
        ),
        (
            "f (float[2] x) => (float[2] a, float[2] b) { a = Relu(x) b = Identity(a) }",
            "both graph outputs",
        ),
        (IF.format(then="p = Identity(a)"), "outside"),
    ],
    ids=["input to output", "weight to output", "two outputs", "outer value to subgraph output"],
)
def test_must_not_fire(text: str, reason: str) -> None:
    before, after = model(text), model(text)
    rewrite = EliminateIdentity()
    assert not rewrite(after).modified
    assert [reason in note.text for note in rewrite.take_notes()] == [True]
    assert_same_function(before, after)


def test_loop_condition_stays() -> None:
    text = """f (float[2] x) => (float[2] y) <int64 n = {3}, bool c = {1}> {
        y = Loop(n, c, x) <body = b (int64 i, bool ci, float[2] v) => (bool co, float[2] w)
            { co = Identity(ci) w = Add(v, v) }>
    }"""
    after = model(text)
    assert not EliminateIdentity()(after).modified
    assert_same_function(model(text), after)


def test_metadata_is_kept() -> None:
    source = model("f (float[2] x) => (float[2] y) { t = Relu(x) y = Identity(t) }")
    source.graph.outputs[0].metadata_props["k"] = "v"
    EliminateIdentity()(source)
    assert source.graph.outputs[0].metadata_props == {"k": "v"}
    assert source.graph.outputs[0].name == "y"


def test_output_keeps_its_stated_shape() -> None:
    source = model(
        "f (float[2] x) => (float[batch] y) <float[n] t> { t = Relu(x) y = Identity(t) }"
    )
    EliminateIdentity()(source)
    assert str(source.graph.outputs[0].shape) == "[batch]"
