from __future__ import annotations

import pytest

from onnxq.errors import ModelError
from onnxq.passes.rewrite.inline_functions import InlineFunctions
from tests.support import assert_same_function, model

TEXT = """<ir_version: 10, opset_import: ["": 21, "own": 1]>
f (float[2] x, bool c) => (float[2] y) {
    a = own.twice(x)
    b = own.twice(a)
    y = If(c) <
        then_branch = t () => (float[2] p) { p = own.twice(b) },
        else_branch = e () => (float[2] q) { q = Neg(b) }>
}
<domain: "own", opset_import: ["": 21]> twice (v) => (w) { w = Add(v, v) }
<domain: "own", opset_import: ["": 21]> unused (v) => (w) { w = Neg(v) }"""


def test_fires() -> None:
    after = model(TEXT)
    rewrite = InlineFunctions()
    assert rewrite(after).modified
    assert [node.op_type for node in after.graph.all_nodes()] == ["Add", "Add", "If", "Add", "Neg"]
    assert not after.functions
    assert_same_function(model(TEXT), after)
    assert not rewrite(after).modified


def test_without_functions() -> None:
    assert not InlineFunctions()(model("f (float[2] x) => (float[2] y) { y = Abs(x) }")).modified


@pytest.mark.parametrize(
    ("old", "new"),
    [('"own", opset_import: ["": 21]> twice', '"own", opset_import: ["": 18]> twice')],
    ids=["another opset"],
)
def test_refusal(old: str, new: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be inlined.*Opset mismatch"):
        InlineFunctions()(model(TEXT.replace(old, new)))


def test_function_that_calls_itself() -> None:
    text = TEXT.replace("{ w = Add(v, v) }", "{ w = own.twice(v) }").replace(
        'opset_import: ["": 21]> twice', 'opset_import: ["": 21, "own": 1]> twice'
    )
    with pytest.raises(ModelError, match="cannot be inlined"):
        InlineFunctions()(model(text))
