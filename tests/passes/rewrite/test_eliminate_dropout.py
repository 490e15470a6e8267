from __future__ import annotations

import pytest

from onnxq.passes.rewrite.eliminate_dropout import EliminateDropout
from tests.support import assert_same_function, model

OLD = '<ir_version: 4, opset_import: ["": 7]>'


@pytest.mark.parametrize(
    "text",
    [
        "f (float[9] x) => (float[9] y) { t = Dropout(x) y = Relu(t) }",
        "f (float[9] x) => (float[9] y) { t = Relu(x) y = Dropout(t) }",
        "f (float[9] x) => (float[9] y) { t, mask = Dropout(x) y = Relu(t) }",
        "f (float[9] x) => (float[9] y) <float r = {0.5}> { t = Dropout(x, r) y = Relu(t) }",
        (
            "f (float[9] x) => (float[9] y) <float r = {0.5}, bool m = {0}> "
            "{ t = Dropout(x, r, m) y = Relu(t) }"
        ),
        OLD + "f (float[9] x) => (float[9] y) { t = Dropout<ratio = 0.3>(x) y = Relu(t) }",
    ],
    ids=["inside", "output", "unused mask", "ratio", "mode off", "opset 7"],
)
def test_fires(text: str) -> None:
    after = model(text)
    rewrite = EliminateDropout()
    assert rewrite(after).modified
    assert [node.op_type for node in after.graph] == ["Relu"]
    assert_same_function(model(text), after)
    assert not rewrite(after).modified


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "f (float[9] x) => (float[9] y) <float r = {0}, bool m = {1}> { y = Dropout(x, r, m) }",
            "training mode",
        ),
        (
            (
                "f (float[9] x, bool m) => (float[9] y) <float r = {0}> "
                "{ t = Dropout(x, r, m) y = Relu(t) }"
            ),
            "training mode",
        ),
        ("f (float[9] x) => (float[9] y, bool[9] m) { t, m = Dropout(x) y = Relu(t) }", "mask"),
        ("f (float[9] x) => (float[9] y) { y = Dropout(x) }", "outside"),
    ],
    ids=["training", "computed mode", "mask used", "input to output"],
)
def test_must_not_fire(text: str, reason: str) -> None:
    after = model(text)
    rewrite = EliminateDropout()
    assert not rewrite(after).modified
    assert [reason in note.text for note in rewrite.take_notes()] == [True]
    assert_same_function(model(text), after)


def test_fires_in_a_subgraph() -> None:
    text = """f (float[2] x, bool c) => (float[2] y) {
        y = If(c) <
            then_branch = t () => (float[2] p) { s = Dropout(x) p = Exp(s) },
            else_branch = e () => (float[2] q) { q = Neg(x) }>
    }"""
    after = model(text)
    assert EliminateDropout()(after).modified
    assert_same_function(model(text), after)
