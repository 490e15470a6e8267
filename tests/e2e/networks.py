"""Small networks with random weights that the pipeline takes to integers, and data for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import is_op
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[np.float32]

__all__ = ["classifier", "detector", "float_heavy", "he", "images", "integer_heavy"]


def he(*shape: int, seed: int = 0) -> Array:
    """Weights that keep the size of what passes through (He et al. 2015)."""
    spread = np.sqrt(2 / np.prod(shape[1:]))
    return np.asarray(np.random.default_rng(seed).normal(size=shape) * spread, np.float32)


def images(count: int = 16, size: int = 16, seed: int = 0) -> Array:
    """Float32 [count, 3, size, size] with neighbours that resemble each other, in -2..2."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-1.5, 1.5, (count, 3, size // 4, size // 4))
    fine = rng.uniform(-0.5, 0.5, (count, 3, size, size))
    return np.asarray(np.kron(coarse, np.ones((4, 4))) + fine, np.float32)


def classifier(batch: str = "N", name: str = "x", extra: str = "", outputs: str = "") -> ir.Model:
    """Convolution (stays float), convolution (goes to integers), pool, Gemm.

    Args:
        batch: Dimension of the input.
        name: Of the input.
        extra: Further nodes.
        outputs: Further outputs.
    """
    return build(
        f"""f (float[{batch},3,16,16] {name}, float[64,3,3,3] w1, float[64] b1,
               float[64,64,3,3] w2, float[64] b2, float[10,64] w3, float[10] b3)
            => (float[{batch},10] y{outputs}) {{
            c1 = Conv<pads=[1,1,1,1]>({name}, w1, b1)
            r1 = Relu(c1)
            c2 = Conv<pads=[1,1,1,1], strides=[2,2]>(r1, w2, b2)
            r2 = Relu(c2)
            g = GlobalAveragePool(r2)
            f = Flatten(g)
            y = Gemm<transB=1>(f, w3, b3)
            {extra} }}""",
        w1=he(64, 3, 3, 3),
        b1=he(64, seed=1) * np.float32(0.1),
        w2=he(64, 64, 3, 3, seed=2),
        b2=he(64, seed=3) * np.float32(0.1),
        w3=he(10, 64, seed=4) * np.float32(4),
        b3=he(10, seed=5),
    )


def detector() -> ir.Model:
    """Two heads on one body, joined as [1, 4 + 3, 64]: boxes in pixels above scores in 0..1."""
    return build(
        """f (float[1,3,16,16] x, float[64,3,3,3] w1, float[64] b1, float[64,64,3,3] w2,
              float[64] b2, float[64,64,3,3] wb, float[64,64,3,3] ws, float[4,64,1,1] wbox,
              float[4] bbox, float[3,64,1,1] wcls, float[3] bcls, float stride, int64[3] s4,
              int64[3] s3) => (float[1,7,64] y) {
            c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r1 = Relu(c1)
            c2 = Conv<pads=[1,1,1,1], strides=[2,2]>(r1, w2, b2)
            r2 = Relu(c2)
            hb = Conv<pads=[1,1,1,1]>(r2, wb)
            rb = Relu(hb)
            hs = Conv<pads=[1,1,1,1]>(r2, ws)
            rs = Relu(hs)
            box = Conv(rb, wbox, bbox)
            cls = Conv(rs, wcls, bcls)
            fb = Reshape(box, s4)
            pixels = Mul(fb, stride)
            fs = Reshape(cls, s3)
            scores = Sigmoid(fs)
            y = Concat<axis=1>(pixels, scores) }""",
        w1=he(64, 3, 3, 3),
        b1=he(64, seed=1) * np.float32(0.1),
        w2=he(64, 64, 3, 3, seed=2),
        b2=he(64, seed=3) * np.float32(0.1),
        wb=he(64, 64, 3, 3, seed=4),
        ws=he(64, 64, 3, 3, seed=5),
        wbox=he(4, 64, 1, 1, seed=6),
        bbox=np.full(4, 3, np.float32),
        wcls=he(3, 64, 1, 1, seed=7) * np.float32(0.4),
        bcls=np.full(3, -1, np.float32),
        stride=np.float32(64),
        s4=np.array([1, 4, 64]),
        s3=np.array([1, 3, 64]),
    )


def integer_heavy(quantized: ir.Model) -> int:
    """How many heavy nodes read codes: both their data and their weight come dequantized."""
    heavy = [node for node in quantized.graph if is_op(node, "Conv", "Gemm", "MatMul")]
    return sum(
        all(v is not None and is_op(v.producer(), "DequantizeLinear") for v in node.inputs[:2])
        for node in heavy
    )


def float_heavy(quantized: ir.Model) -> list[str]:
    """Names of the heavy nodes with a float weight."""
    return [
        str(node.name)
        for node in quantized.graph
        if is_op(node, "Conv", "Gemm", "MatMul")
        and node.inputs[1] is not None
        and not is_op(node.inputs[1].producer(), "DequantizeLinear")
    ]
