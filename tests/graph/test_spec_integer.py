"""The proof that a model is integer-only: what it accepts, and each way to break it."""

from __future__ import annotations

import re

import pytest

from onnxq.errors import ModelError
from onnxq.graph.spec_integer import check_integer, prove_integer
from tests.support import model

QUANTIZED = "q = QuantizeLinear(x, s, z)"
CONSTANTS = "float s = {0.5}, uint8 z = {3}"


def proof(body: str, constants: str = "", kind: str = "float", shape: str = "2,4") -> list[str]:
    """The violations of a model that quantizes x, computes ``body`` and gives out y."""
    more = f", {constants}" if constants else ""
    source = model(
        f"f (float[{shape}] x) => ({kind}[a,b] y) <{CONSTANTS}{more}> {{ {QUANTIZED} {body} }}"
    )
    for number, node in enumerate(source.graph):
        node.name = f"{node.op_type}{number}"
    return list(prove_integer(source).violations)


WIDE = "w = Cast<to=6>(q)"
OUT = "y = DequantizeLinear(c, s, z)"


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("c = Identity(q)", ""),
        (f"{WIDE} m = Mul(w, k) b = Clip(m, lo, hi) c = Cast<to=2>(b)",
         "int32 k = {1000}, int32 lo = {0}, int32 hi = {255}"),
        (f"{WIDE} u = Cast<to=12>(w) r = BitShift<direction=\"RIGHT\">(u, k) c = Cast<to=2>(r)",
         "uint32 k = {4}"),
        ("p = MatMulInteger(q, k, z) u = Relu(p) i = Min(u, hi) c = Cast<to=2>(i)",
         "int8[4,4] k = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,64}, int32 hi = {200}"),
        (f"{WIDE} c = Gather(k, w)", "uint8[256] k = {" + ",".join(["7"] * 256) + "}"),
        (f"{WIDE} d = Div(w, k) c = Cast<to=2>(d)", "int32 k = {3}"),
        (f"{WIDE} d = ReduceSum(w, axes) m = Min(d, hi) c = Cast<to=2>(m)",
         "int64[1] axes = {1}, int32 hi = {255}"),
    ],
)  # fmt: skip
def test_accepts(body: str, constants: str) -> None:
    assert proof(f"{body} {OUT}", constants) == []


@pytest.mark.parametrize(
    ("body", "constants", "reason"),
    [
        (f"{WIDE} m = Mul(w, k) b = Clip(m, lo, hi) c = Cast<to=2>(b)",
         "int32 k = {10000000}, int32 lo = {0}, int32 hi = {255}",
         r"\(Mul\): its numbers reach from 0 to 2550000000, beyond INT32"),
        (f"{WIDE} m = Sub(w, k) c = Cast<to=2>(m)", "int32 k = {1}",
         r"\(Cast\): its numbers reach from -1 to 254, beyond UINT8"),
        (f"{WIDE} u = Cast<to=12>(w) r = BitShift<direction=\"LEFT\">(u, k) c = Cast<to=2>(r)",
         "uint32 k = {26}", "beyond UINT32"),
        ("p = MatMulInteger(q, k, z) u = Relu(p) i = Min(u, hi) c = Cast<to=2>(i)",
         "int8[4,1] k = {65,64,1,1}, int32 hi = {200}", "pairs of products in column 0 saturate"),
        (f"{WIDE} c = Gather(k, w)", "uint8[3] k = {1,2,3}", r"indices may lie outside \[0, 3\)"),
        (f"{WIDE} m = Mul(w, k) c = Cast<to=2>(m)", "float k = {1.0}",
         "reads integers and has the float"),
        ("f = Cast<to=1>(q) c = Cast<to=2>(f)", "", "reads integers and has the float value 'f'"),
        ("d = DequantizeLinear(q, s, z) r = Relu(d) c = QuantizeLinear(r, s, z)", "",
         "brings 'r', a float that was computed from integers, back"),
        (f"{WIDE} m = Mod(w, k) c = Cast<to=2>(m)", "int32 k = {7}",
         "the proof knows no such operator"),
        (f"{WIDE} d = Div(k, w) c = Cast<to=2>(d)", "int32 k = {3}", "may be 0"),
    ],
)  # fmt: skip
def test_refuses(body: str, constants: str, reason: str) -> None:
    found = proof(f"{body} {OUT}", constants)
    assert any(re.search(reason, line) for line in found)


def test_signed_convolution_weights_are_refused() -> None:
    source = model(
        f"""f (float[1,1,3,3] x) => (float[1,1,2,2] y) <{CONSTANTS},
            int8[1,1,2,2] k = {{1,2,3,4}}, float t = {{0.1}}>
            {{ {QUANTIZED} c = ConvInteger(q, k, z) y = DequantizeLinear(c, t) }}"""
    )
    with pytest.raises(ModelError, match="products other than u8 × u8 saturate"):
        check_integer(source)


def test_a_float_model_is_no_integer_model() -> None:
    source = model("f (float[2] x) => (float[2] y) { y = Relu(x) }")
    with pytest.raises(ModelError, match="no node of it computes with quantized values"):
        check_integer(source)


def test_integer_inputs_need_no_border() -> None:
    source = model(
        """f (uint8[2] q) => (uint8[2] y) <int32 k = {7}, int32 hi = {255}>
           { w = Cast<to=6>(q) m = Add(w, k) n = Min(m, hi) y = Cast<to=2>(n) }"""
    )
    found = prove_integer(source)
    assert found.violations == ()
    assert (found.quantize, found.dequantize, found.nodes, found.largest) == ((), (), 4, 262)
