"""Encoders with ConvTranspose decoders, as U-Net: all other layers run on integers.

onnxruntime has no integer kernel for ConvTranspose. Between integers it would quantize the float
weight of one silently, and compute with that in float.
"""

from __future__ import annotations

import pytest

from onnxq.graph.query import is_op
from tests.e2e.exports import assert_goes_through, export, take_all_to_integers
from tests.e2e.networks import float_heavy, integer_heavy
from tests.passes.lower.optimized import optimized

UP = {
    "of the stride's size": ("2,2", "strides=[2,2]"),
    "overlapping": ("3,3", "strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]"),
    "to a given size": ("3,3", "strides=[2,2], output_shape=[{0},{0}]"),
}


def u_net(up: str, width: int = 8, size: int = 16) -> str:
    """Two levels down, two up, with what was passed on the way down beside what comes back."""
    kernel, how = UP[up]
    w, w2, w4 = width, 2 * width, 4 * width
    conv, pool = "Conv<pads=[1,1,1,1]>", "MaxPool<kernel_shape=[2,2], strides=[2,2]>"
    first, second = (how.format(size // 2), how.format(size))
    return f"""net (float[1,3,{size},{size}] x, float[{w},3,3,3] w0, float[{w2},{w},3,3] w1,
        float[{w4},{w2},3,3] w2, float[{w4},{w2},{kernel}] u1, float[{w2}] b1,
        float[{w2},{w4},3,3] w3, float[{w2},{w},{kernel}] u2, float[{w},{w2},3,3] w4,
        float[2,{w},1,1] w5) => (float[1,2,{size},{size}] y) {{
        c0 = {conv}(x, w0) r0 = Relu(c0) p0 = {pool}(r0)
        c1 = {conv}(p0, w1) r1 = Relu(c1) p1 = {pool}(r1)
        c2 = {conv}(p1, w2) r2 = Relu(c2)
        d1 = ConvTranspose<{first}>(r2, u1, b1) k1 = Concat<axis=1>(d1, r1)
        c3 = {conv}(k1, w3) r3 = Relu(c3)
        d2 = ConvTranspose<{second}>(r3, u2) k2 = Concat<axis=1>(d2, r0)
        c4 = {conv}(k2, w4) r4 = Relu(c4) c5 = Conv(r4, w5) y = Sigmoid(c5) }}"""


@pytest.mark.parametrize("up", UP)
def test_the_layers_around_run_on_integers(up: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_all_to_integers(monkeypatch)
    result = assert_goes_through(export(u_net(up)), least=25)
    assert integer_heavy(result.model) == 6
    assert float_heavy(result.model) == []
    reasons = {row.node: row.reason for row in result.stayed_float}
    up_ = [node for node in result.model.graph if is_op(node, "ConvTranspose")]
    assert {reasons[str(node.name)] for node in up_} == {
        "cpu has no integer kernel for ConvTranspose"
    }


def test_the_weights_stay_float_in_what_really_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    take_all_to_integers(monkeypatch)
    result = assert_goes_through(export(u_net("overlapping")))
    ran = optimized(result.model)
    weights = [node.inputs[1] for node in ran.graph if is_op(node, "ConvTranspose")]
    assert len(weights) == 2
    assert all(value is not None and value.producer() is None for value in weights)


def test_at_real_costs_most_layers_run_on_integers() -> None:
    """Measured with two layers a level, this width and a size of 96: 1.6 to 1.8 times as fast."""
    result = assert_goes_through(export(u_net("of the stride's size", width=32, size=48)))
    assert integer_heavy(result.model) >= 4
    assert result.integer_share > 0.8
