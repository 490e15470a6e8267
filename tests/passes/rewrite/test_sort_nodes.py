from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.errors import ModelError
from onnxq.passes.rewrite.sort_nodes import SortNodes
from tests.support import assert_same_function, model

if TYPE_CHECKING:
    import onnx_ir as ir

TEXT = "f (float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) c = Exp(x) y = Add(b, c) }"


def ops(source: ir.Model) -> list[str]:
    return [node.op_type for node in source.graph]


def test_fires() -> None:
    after = model(TEXT)
    first = after.graph.node(0)
    after.graph.remove(first)
    after.graph.append(first)
    rewrite = SortNodes()
    assert rewrite(after).modified
    assert_same_function(model(TEXT), after)
    assert not rewrite(after).modified


def test_right_order_stays() -> None:
    source = model(TEXT)
    assert not SortNodes()(source).modified
    assert ops(source) == ["Relu", "Neg", "Exp", "Add"]


def test_cycle() -> None:
    source = model(TEXT)
    relu, neg = source.graph.node(0), source.graph.node(1)
    relu.replace_input_with(0, neg.outputs[0])
    with pytest.raises(ModelError, match="cycle"):
        SortNodes()(source)
