"""Small networks of different structure, and errors planted in one layer of their int8 models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

import onnxq
from onnxq.graph.edit import set_weight
from tests.e2e.networks import he, images
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "branching",
    "chain",
    "damage_codes",
    "damage_scale",
    "data",
    "quantized",
    "tail",
    "weights_of",
]


def chain() -> ir.Model:
    """Five convolutions in a row, one of them depthwise."""
    return build(
        """f (float[1,3,16,16] x, float[32,3,3,3] w1, float[32] b1, float[32,32,3,3] w2,
              float[32] b2, float[32,1,3,3] w3, float[32] b3, float[32,32,3,3] w4, float[32] b4,
              float[8,32,1,1] w5) => (float[1,8,16,16] y) {
            c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r1 = Relu(c1)
            c2 = Conv<pads=[1,1,1,1]>(r1, w2, b2)
            r2 = Relu(c2)
            c3 = Conv<pads=[1,1,1,1], group=32>(r2, w3, b3)
            r3 = Relu(c3)
            c4 = Conv<pads=[1,1,1,1]>(r3, w4, b4)
            r4 = Relu(c4)
            y = Conv(r4, w5) }""",
        w1=he(32, 3, 3, 3),
        b1=he(32, seed=1) * np.float32(0.1),
        w2=he(32, 32, 3, 3, seed=2),
        b2=he(32, seed=3) * np.float32(0.1),
        w3=he(32, 1, 3, 3, seed=4),
        b3=he(32, seed=5) * np.float32(0.1),
        w4=he(32, 32, 3, 3, seed=6),
        b4=he(32, seed=7) * np.float32(0.1),
        w5=he(8, 32, 1, 1, seed=8),
    )


def branching() -> ir.Model:
    """A residual block, two branches joined by Concat, and two outputs."""
    return build(
        """f (float[1,3,16,16] x, float[32,3,3,3] w1, float[32,32,3,3] w2, float[32,32,3,3] w3,
              float[32,32,3,3] w4, float[32,32,1,1] w5, float[16,64,3,3] w6,
              float[8,32,1,1] w7) => (float[1,16,16,16] y, float[1,8,16,16] z) {
            c1 = Conv<pads=[1,1,1,1]>(x, w1)
            r1 = Relu(c1)
            c2 = Conv<pads=[1,1,1,1]>(r1, w2)
            r2 = Relu(c2)
            c3 = Conv<pads=[1,1,1,1]>(r2, w3)
            s = Add(c3, r1)
            a = Relu(s)
            c4 = Conv<pads=[1,1,1,1]>(a, w4)
            r4 = Relu(c4)
            c5 = Conv(a, w5)
            r5 = Relu(c5)
            j = Concat<axis=1>(r4, r5)
            y = Conv<pads=[1,1,1,1]>(j, w6)
            z = Conv(r5, w7) }""",
        w1=he(32, 3, 3, 3),
        w2=he(32, 32, 3, 3, seed=2),
        w3=he(32, 32, 3, 3, seed=3),
        w4=he(32, 32, 3, 3, seed=4),
        w5=he(32, 32, 1, 1, seed=5),
        w6=he(16, 64, 3, 3, seed=6),
        w7=he(8, 32, 1, 1, seed=7),
    )


def tail() -> ir.Model:
    """A convolution, a pool, then MatMul and Gemm."""
    return build(
        """f (float[1,3,16,16] x, float[64,3,3,3] w1, float[64] b1, float[64,64,3,3] w2,
              float[64,256] w3, float[256] b3, float[32,256] w4, float[32] b4)
            => (float[1,32] y) {
            c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r1 = Relu(c1)
            c2 = Conv<pads=[1,1,1,1], strides=[2,2]>(r1, w2)
            r2 = Relu(c2)
            g = GlobalAveragePool(r2)
            f = Flatten(g)
            m = MatMul(f, w3)
            n = Add(m, b3)
            h = Relu(n)
            y = Gemm<transB=1>(h, w4, b4) }""",
        w1=he(64, 3, 3, 3),
        b1=he(64, seed=1) * np.float32(0.1),
        w2=he(64, 64, 3, 3, seed=2),
        w3=he(64, 256, seed=3) * np.float32(3),
        b3=he(256, seed=4),
        w4=he(32, 256, seed=5),
        b4=he(32, seed=6),
    )


def data(count: int = 16) -> dict[str, npt.NDArray[np.float32]]:
    return {"x": images(count)}


def quantized(source: ir.Model, *passes: str) -> ir.Model:
    return onnxq.optimize(source, data=data(), threads=1, passes=passes).model


def weights_of(model: ir.Model) -> dict[str, ir.Value]:
    """Returns node name → codes of the weight that it reads through DequantizeLinear."""
    found: dict[str, ir.Value] = {}
    for node in model.graph:
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        producer = None if weight is None else weight.producer()
        if producer is None or producer.op_type != "DequantizeLinear":
            continue
        codes = producer.inputs[0]
        if codes is not None and codes.is_initializer() and node.name:
            found[node.name] = codes
    return found


def damage_scale(model: ir.Model, node: str, factor: float) -> ir.Model:
    """Returns a copy whose ``node`` has the scale of its weight multiplied."""
    copy = model.clone()
    weight = _node(copy, node).inputs[1]
    assert weight is not None
    dequantize = weight.producer()
    assert dequantize is not None
    scale = dequantize.inputs[1]
    assert scale is not None
    assert scale.const_value is not None
    array = scale.const_value.numpy() * np.float32(factor)
    own = ir.val(f"{node}_damaged", ir.DataType.FLOAT, list(array.shape))
    own.const_value = ir.tensor(array, name=own.name)
    copy.graph.register_initializer(own)
    dequantize.replace_input_with(1, own)
    return copy


def damage_codes(model: ir.Model, node: str, share: float = 0.2, seed: int = 0) -> ir.Model:
    """Returns a copy in which a share of the codes of ``node``'s weight are shuffled."""
    copy = model.clone()
    codes = weights_of(copy)[node]
    assert codes.const_value is not None
    array = codes.const_value.numpy().copy()
    rng = np.random.default_rng(seed)
    places = rng.permutation(array.size)[: int(array.size * share)]
    array.reshape(-1)[places] = array.reshape(-1)[rng.permutation(places)]
    set_weight(codes, array)
    return copy


def _node(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.name == name)
