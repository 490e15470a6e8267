from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.errors import ModelError
from onnxq.graph.spec import check_float, check_qdq, violations_float, violations_qdq
from tests.support import model

TEXT = "f (float[2] x) => (float[2] y) <float[2] w = {1,2}> { [a] t = Add(x, w) [b] y = Relu(t) }"
QDQ = """f (float[1,3] x) => (float[1,2] y)
<float sx = {0.1}, uint8 zx = {3}, int8[3,2] wq = {1,2,3,4,5,6}, float[2] sw = {0.1,0.2},
 int8[2] zw = {0,0}, int32[2] bq = {7,8}, float[2] sb = {0.01,0.02}> {
    [q] xq = QuantizeLinear(x, sx, zx)
    [dx] xd = DequantizeLinear(xq, sx, zx)
    [dw] wd = DequantizeLinear<axis = 1>(wq, sw, zw)
    [db] bd = DequantizeLinear<axis = 0>(bq, sb)
    [g] y = Gemm(xd, wd, bd)
}"""


def test_legal_float_model() -> None:
    check_float(model(TEXT))


def test_legal_qdq_model() -> None:
    check_qdq(model(QDQ))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<ir_version: 8, opset_import: ["": 17]>' + TEXT, "opset 17 is older than 21"),
        ('<ir_version: 8, opset_import: ["com.microsoft": 1]>' + TEXT, "which opset"),
        (TEXT.replace("[a] ", ""), "a node of type Add has no name"),
        (TEXT.replace("[b]", "[a]"), "two nodes are called 'a'"),
        (TEXT.replace("Add(x, w)", "Add(x, lost)"), "node 'a' reads 'lost'"),
        (TEXT.replace("y = Relu", "z = Relu"), "graph output 'y' is not produced"),
        (TEXT.replace("Relu", "Relu<no_such_attribute = 1>"), "no_such_attribute"),
        (
            '<ir_version: 10, opset_import: ["": 21, "own": 1]>'
            + TEXT
            + '<domain: "own", opset_import: ["": 21]> g (v) => (u) { u = Neg(v) }',
            "1 functions",
        ),
        (
            """f (float[2] x, bool c) => (float[2] y) { [i] y = If(c) <
            then_branch = t () => (float[2] p) { [n] p = Neg(x) },
            else_branch = e () => (float[2] p) { [m] p = Abs(x) }> }""",
            "two values are called 'p'",
        ),
        (
            """f (float[2] x, bool c) => (float[2] y) { [i] y = If(c) <
            then_branch = t () => (float[2] p) { [n] p = Neg(late) },
            else_branch = e () => (float[2] q) { [m] q = Abs(x) }>
            [l] late = Abs(x) }""",
            "node 'n' reads 'late', which nothing before",
        ),
    ],
    ids=[
        "opset",
        "no opset",
        "nameless",
        "duplicate node",
        "dangling",
        "output",
        "attribute",
        "function",
        "duplicate value in branches",
        "order across graphs",
    ],
)
def test_illegal_float_model(text: str, words: str) -> None:
    source = model(text)
    assert words in violations_float(source)[0]
    with pytest.raises(ModelError, match="not legal"):
        check_float(source)


def test_weight_without_data() -> None:
    source = model(TEXT)
    source.graph.initializers["w"].const_value = None
    assert violations_float(source) == ["weight 'w' has no data"]


def test_nodes_out_of_order() -> None:
    source = model(TEXT)
    first = source.graph.node(0)
    source.graph.remove(first)
    source.graph.append(first)
    assert violations_float(source) == ["node 'b' reads 't', which nothing before it produces"]


def test_nameless_value() -> None:
    source = model(TEXT)
    source.graph.node(0).outputs[0].name = None
    assert "a value that is used has no name" in violations_float(source)


def test_number_of_violations_is_told() -> None:
    source = model(TEXT.replace("[a] ", "").replace("[b] ", ""))
    with pytest.raises(ModelError, match=r"has no name \(and 1 more\)$"):
        check_float(source)


@pytest.mark.parametrize(
    ("old", "new", "violation"),
    [
        ("sx = {0.1}", "sx = {0}", "'q' has a scale that is not finite and positive"),
        ("sx = {0.1}", "sx = {-0.1}", "'q' has a scale that is not finite and positive"),
        ("x, sx, zx", ", sx, zx", "'q' has no data"),
        ("uint8 zx = {3}", "uint8[1] zx = {3}", "'q' has a zero point of shape [1]"),
        ("(wq, sw, zw)", "(wq, sw, zx)", "'dw' has a zero point of type UINT8 for codes of type"),
        ("axis = 1", "axis = 0", "'dw' has 2 scales on axis 0, where the data asks for 3"),
        ("axis = 1", "axis = 2", "'dw' has axis 2 for data of rank 2"),
        ("(bq, sb)", "(bq, sb, bq)", "'db' has a zero point other than 0"),
        ("0>(bq, sb)", "0, block_size = 2>(bq, sb)", "'db' has 2 scales on axis 0"),
        (
            "<axis = 1>(wq, sw, zw)",
            "<axis = 1, block_size = 2>(wq, sw)",
            "'dw' has a scale of rank",
        ),
    ],
    ids=[
        "zero scale",
        "negative scale",
        "no data",
        "shape",
        "type",
        "length",
        "axis",
        "int32",
        "blocks",
        "rank of blocks",
    ],
)
def test_illegal_qdq_node(old: str, new: str, violation: str) -> None:
    assert any(violation in line for line in violations_qdq(model(QDQ.replace(old, new))))


def test_infinite_scale() -> None:
    source = model(QDQ)
    tensor = ir.tensor(np.array([0.1, np.inf], np.float32), name="sw")
    source.graph.initializers["sw"].const_value = tensor
    assert violations_qdq(source) == ["node 'dw' has a scale that is not finite and positive"]


def test_scale_must_be_constant() -> None:
    source = model(
        """f (float[2] x, float s) => (uint8[2] y) <uint8 z = {0}>
        { [q] y = QuantizeLinear(x, s, z) }"""
    )
    assert violations_qdq(source) == ["node 'q' has no constant scale"]


def test_zero_point_must_be_constant() -> None:
    source = model(
        """f (float[2] x, uint8 z) => (uint8[2] y) <float s = {1}>
        { [q] y = QuantizeLinear(x, s, z) }"""
    )
    assert violations_qdq(source) == ["node 'q' has a zero point that is not constant"]


def test_int32_cannot_be_quantized_to() -> None:
    source = model(
        "f (float[2] x) => (int32[2] y) <float s = {1}> { [q] y = QuantizeLinear(x, s) }"
    )
    assert any("codes of type INT32" in line for line in violations_qdq(source))


def test_blocks() -> None:
    text = """f (float[1,4] x) => (float[1,2] y)
    <int8[4,2] wq = {1,2,3,4,5,6,7,8}, float[2,2] sw = {1,2,3,4}> {
        [d] wd = DequantizeLinear<axis = 0, block_size = 2>(wq, sw) [m] y = MatMul(x, wd)
    }"""
    assert violations_qdq(model(text)) == []
