"""Whatever an exporter may write goes through: small models in many dialects, end to end.

Each model runs at both optimization levels, computes the same there and resembles what it was made
from. To keep models small and yet have something to quantize, integers are taken to cost nothing.
"""

from __future__ import annotations

import onnx.parser
import pytest

from tests.e2e.between_convolutions import AT_OPSET, BETWEEN, CONSTANTS, GIVEN
from tests.e2e.exports import assert_goes_through, export, take_all_to_integers
from tests.e2e.whole_models import WHOLE, mobile_network, with_parameters


@pytest.fixture(autouse=True)
def _all_that_can_be_is_integer(monkeypatch: pytest.MonkeyPatch) -> None:
    take_all_to_integers(monkeypatch)


NET = """net (float[1,3,16,16] x, float[8,3,3,3] w1, float[8] b1, float[8,8,1,1] w2, float[8] b2,
              float[10,8] w3, float[10] b3) => (float[1,10] y) {
    c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r1 = Relu(c1)
    c2 = Conv(r1, w2, b2)
    s = Add(c2, r1)
    g = GlobalAveragePool(s)
    f = Flatten(g)
    y = Gemm<transB=1>(f, w3, b3)
}"""


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 15, 17, 19, 21, 23, 24, 25])
def test_every_opset(opset: int) -> None:
    ir_version = 3 if opset < 9 else 4 if opset < 13 else 8 if opset < 20 else 10
    ir_version = 11 if opset >= 23 else ir_version
    result = assert_goes_through(export(NET, opset, ir_version, listed=ir_version == 3))
    assert result.integer_share > 0.9
    assert result.model.opset_imports[""] == max(opset, 21)


@pytest.mark.parametrize("opset", [21, 23, 24, 25])
def test_every_output_opset(opset: int) -> None:
    result = assert_goes_through(export(NET, 13), opset=opset)
    assert result.model.opset_imports[""] == opset


@pytest.mark.parametrize("name", BETWEEN)
def test_between_two_convolutions(name: str) -> None:
    opset = AT_OPSET.get(name, 14)
    given = {**CONSTANTS, **GIVEN.get(name, {})}
    assert_goes_through(export(BETWEEN[name], opset, 10 if opset > 17 else 8, **given))


@pytest.mark.parametrize("name", WHOLE)
def test_whole_model(name: str) -> None:
    assert_goes_through(with_parameters(WHOLE[name]))


def test_unnamed_and_duplicate_names() -> None:
    proto = export(NET)
    for number, node in enumerate(proto.graph.node):
        node.name = "" if number % 3 == 0 else "layer"
    result = assert_goes_through(proto)
    names = [node.name for node in result.model.graph]
    assert all(names)
    assert len(set(names)) == len(names)


def test_an_empty_batch_of_outputs() -> None:
    text = """net (float[1,3,16,16] x, float[8,3,3,3] w1, int64[1] at) => (float[0,8,14,14] y)
        { c = Conv(x, w1) r = Relu(c) y = Slice(r, at, at) }"""
    assert_goes_through(export(text, at=[0]))


def test_a_function_of_the_model() -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "local": 1]>
        net (float[1,3,8,8] x) => (float[1,3,8,8] y) { c = local.act(x) y = local.act(c) }
        <domain: "local", opset_import: ["": 17]> act (a) => (b) { s = Sigmoid(a) b = Mul(a, s) }"""
    )
    assert_goes_through(proto)


def test_half_precision() -> None:
    text = """net (float16[1,3,16,16] x, float16[8,3,3,3] w1, float16[8,8,1,1] w2) =>
        (float16[1,8,14,14] y) { c = Conv(x, w1) r = Relu(c) y = Conv(r, w2) }"""
    assert_goes_through(export(text))


def test_a_mobile_network() -> None:
    assert_goes_through(export(mobile_network()))
