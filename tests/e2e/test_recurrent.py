"""LSTM, GRU and RNN stay float inside models whose other layers run on integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from onnxq.graph.query import is_op
from tests.e2e.exports import (
    assert_agrees,
    assert_goes_through,
    export,
    samples_for,
    take_all_to_integers,
)
from tests.e2e.networks import float_heavy, integer_heavy

if TYPE_CHECKING:
    import onnx_ir as ir

RECURRENT = ("LSTM", "GRU", "RNN")
# reads text: an image [1,1,8,24] becomes 24 columns of 32 features
IMAGE = "float[1,1,8,24] x, float[8,1,3,3] w1, float[8,8,3,3] w2, int64[3] to"
COLUMNS = """c = Conv<pads=[1,1,1,1]>(x, w1) r = Relu(c)
    d = Conv<pads=[1,1,1,1], strides=[2,1]>(r, w2) e = Relu(d)
    t = Transpose<perm=[3,0,1,2]>(e) f = Reshape(t, to)"""
STEPS = "float[N,T,8] x, float[8,16] w1, float[16] b1, int64[1] ax1"
FEATURES = "m0 = MatMul(x, w1) a0 = Add(m0, b1) r = Relu(a0) t = Transpose<perm=[1,0,2]>(r)"
LAST = "z = Transpose<perm=[1,0,2]>(u) m = MatMul(z, w3) y = Add(m, b3)"
NETS: dict[str, str] = {
    "text from both sides": f"""net ({IMAGE}, float[2,64,32] wi, float[2,64,16] wh, float[2,128] bl,
        float[32,11] w3, float[11] b3, int64[3] back) => (float[24,1,11] y) {{ {COLUMNS}
        h, hn, cn = LSTM<hidden_size=16, direction="bidirectional">(f, wi, wh, bl)
        u = Transpose<perm=[0,2,1,3]>(h) v = Reshape(u, back) m = MatMul(v, w3) l = Add(m, b3)
        y = LogSoftmax<axis=2>(l) }}""",
    "GRU with a state given": f"""net ({IMAGE}, float[1,48,32] wi, float[1,48,16] wh,
        float[1,96] bl, float[1,1,16] h0, float[16,11] w3, float[11] b3, int64[1] ax1) =>
        (float[24,1,11] y, float[1,1,16] hn) {{ {COLUMNS}
        h, hn = GRU<hidden_size=16, linear_before_reset=1>(f, wi, wh, bl, , h0)
        u = Squeeze(h, ax1) m = MatMul(u, w3) y = Add(m, b3) }}""",
    "two behind each other": f"""net ({STEPS}, float[1,64,16] wi, float[1,64,16] wh,
        float[1,64,16] wj, float[1,64,16] wk, float[16,4] w3, float[4] b3) => (float[N,T,4] y) {{
        {FEATURES} h, hn, cn = LSTM<hidden_size=16>(t, wi, wh) g = Squeeze(h, ax1)
        i, hm = LSTM<hidden_size=16>(g, wj, wk) u = Squeeze(i, ax1) {LAST} }}""",
    "plain": f"""net ({STEPS}, float[1,16,16] wi, float[1,16,16] wh, float[16,4] w3, float[4] b3) =>
        (float[N,T,4] y) {{ {FEATURES} h = RNN<hidden_size=16>(t, wi, wh) u = Squeeze(h, ax1)
        {LAST} }}""",
}
GIVEN: dict[str, Any] = {"to": [0, 0, -1], "back": [0, 0, -1], "ax1": [1]}


@pytest.fixture(autouse=True)
def _all_that_can_be_is_integer(monkeypatch: pytest.MonkeyPatch) -> None:
    take_all_to_integers(monkeypatch)


def recurrent(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if is_op(node, *RECURRENT)]


@pytest.mark.parametrize("name", NETS)
def test_the_layers_around_run_on_integers(name: str) -> None:
    result = assert_goes_through(export(NETS[name], **GIVEN), least=25)
    assert result.integer_share == 1
    assert float_heavy(result.model) == []
    assert integer_heavy(result.model) == (3 if "Conv" in NETS[name] else 2)
    reasons = {row.node: row.reason for row in result.stayed_float}
    assert recurrent(result.model)
    for node in recurrent(result.model):
        assert reasons[str(node.name)] == f"cpu has no integer kernel for {node.op_type}"
        weights = [value for value in node.inputs[1:4] if value is not None]
        assert all(value.producer() is None for value in weights)


def test_any_number_of_steps() -> None:
    proto = export(NETS["two behind each other"], **GIVEN)
    result = assert_goes_through(proto)
    feed = {name: array[:2] for name, array in samples_for(proto, T=5).items()}
    assert_agrees(proto, result.model, feed)
