from __future__ import annotations

import pytest

from onnxq.graph.inventory import premature_operators, quantized_nodes, unknown_domains
from tests.support import model


def test_float_model_has_no_quantized_nodes() -> None:
    assert quantized_nodes(model("f (float[2] x) => (float[2] y) { y = Relu(x) }")) == []


def test_quantized_nodes_are_named() -> None:
    text = """f (float[2] x) => (float[2] y) <float s = {0.1}, uint8 z = {3}> {
        [quant] q = QuantizeLinear(x, s, z)
        y = DequantizeLinear(q, s, z)
    }"""
    assert quantized_nodes(model(text)) == ["quant (QuantizeLinear)", "y (DequantizeLinear)"]


@pytest.mark.parametrize(
    "op", ["QLinearConv", "com.microsoft.QLinearAdd", "com.microsoft.MatMulNBits", "MatMulInteger"]
)
def test_each_kind_of_quantized_node(op: str) -> None:
    text = f"""<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>
    f (float[2] x) => (float[2] y) {{ [n] y = {op}(x) }}"""
    assert quantized_nodes(model(text)) == [f"n ({op.split('.')[-1]})"]


def test_quantized_node_in_a_subgraph() -> None:
    text = """f (bool b, uint8[2] x, float s) => (float[2] y) {
        y = If(b) <
            then_branch = t () => (float[2] a) { a = DequantizeLinear(x, s) },
            else_branch = e () => (float[2] c) { c = Cast<to=1>(x) }>
    }"""
    assert quantized_nodes(model(text)) == ["a (DequantizeLinear)"]


def test_unknown_domains() -> None:
    text = """<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1, "a": 1, "b": 1, "own": 1]>
    f (float[2] x) => (float[2] y) {
        t = a.Two(x)
        u = a.One(t)
        v = b.Three(u)
        w = com.microsoft.Gelu(v)
        y = own.F(w)
    }
    <domain: "own", opset_import: ["": 21]> F (x) => (y) { y = Relu(x) }
    """
    assert unknown_domains(model(text)) == {"a": ["One", "Two"], "b": ["Three"]}


def test_operators_newer_than_the_opset() -> None:
    text = """<ir_version: 4, opset_import: ["": 9, "com.microsoft": 1]>
    f (bool b, float[2] x) => (float[2] y) {
        r = Relu(x)
        u = com.microsoft.Gelu(r)
        v = NoSuchOperator(u)
        y = If(b) <
            then_branch = t () => (float[2] a) { a = HardSwish(v) },
            else_branch = e () => (float[2] c) { c = Round(v) }>
    }"""
    assert premature_operators(model(text)) == {"HardSwish": 14, "Round": 11}
    assert premature_operators(model(text.replace('"": 9', '"": 14'))) == {}


def test_no_operator_is_newer_than_no_opset() -> None:
    text = """<ir_version: 10, opset_import: ["com.microsoft": 1]>
    f (float[2] x) => (float[2] y) { y = com.microsoft.Gelu(x) }"""
    assert premature_operators(model(text)) == {}
