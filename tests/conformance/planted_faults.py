"""Models with one fault each, as text, and models without any."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx_ir as ir

__all__ = ["CLEAN", "FAULTS", "Fault", "made"]


def _codes(*shape: int, most: int = 60) -> npt.NDArray[np.int8]:
    return np.random.default_rng(0).integers(-most, most + 1, shape).astype(np.int8)


CONV = """f (float[1,4,8,8] x, float xs, uint8 xz, int8[8,4,3,3] wq, float[8] ws, int8[8] wz,
    int32[8] bq, float[8] bs, float ys, uint8 yz) => (float[1,8,8,8] y) {
    xq = QuantizeLinear(x, xs, xz)
    xd = DequantizeLinear(xq, xs, xz)
    w = DequantizeLinear<axis=0>(wq, ws, wz)
    b = DequantizeLinear<axis=0>(bq, bs)
    c = Conv<pads=[1,1,1,1]>(xd, w, b)
    r = Relu(c)
    rq = QuantizeLinear(r, ys, yz)
    y = DequantizeLinear(rq, ys, yz) }"""
CONV_DATA: dict[str, Any] = {
    "xs": np.float32(0.02),
    "xz": np.uint8(128),
    "wq": _codes(8, 4, 3, 3),
    "ws": np.full(8, 0.01, np.float32),
    "wz": np.zeros(8, np.int8),
    "bq": np.arange(8, dtype=np.int32),
    "bs": np.full(8, np.float32(0.02) * np.float32(0.01), np.float32),
    "ys": np.float32(0.05),
    "yz": np.uint8(0),
}

# Symmetric signed bytes and a float bias, as TensorRT and OpenVINO want them.
SIGNED = (
    CONV.replace("uint8", "int8")
    .replace("int32[8] bq, float[8] bs", "float[8] b")
    .replace("    b = DequantizeLinear<axis=0>(bq, bs)\n", "")
)
SIGNED_DATA: dict[str, Any] = {
    **{k: v for k, v in CONV_DATA.items() if k not in ("bq", "bs")},
    "xz": np.int8(0),
    "yz": np.int8(0),
    "b": np.ones(8, np.float32),
}

# Whole node units, as QNN wants them.
UNITS = CONV.replace(
    "r = Relu(c)",
    """cq = QuantizeLinear(c, cs, cz)
    cd = DequantizeLinear(cq, cs, cz)
    r = Relu(cd)""",
).replace("float ys,", "float cs, uint8 cz, float ys,")
UNITS_DATA = {**CONV_DATA, "cs": np.float32(0.04), "cz": np.uint8(128)}

MATMUL = """f (float[1,9,16] x, float xs, uint8 xz, int8[16,8] wq, float[8] ws, int8[8] wz,
    int32[8] bq, float[8] bs) => (float[1,9,8] y) {
    xq = QuantizeLinear(x, xs, xz)
    xd = DequantizeLinear(xq, xs, xz)
    w = DequantizeLinear<axis=1>(wq, ws, wz)
    m = MatMul(xd, w)
    b = DequantizeLinear<axis=0>(bq, bs)
    a = Add(m, b)
    y = Softmax(a) }"""
MATMUL_DATA = {
    **{k: v for k, v in CONV_DATA.items() if k in ("xs", "xz", "ws", "wz", "bq", "bs")},
    "wq": _codes(16, 8),
}

# Two quantized branches that are joined or moved about.
TWO = """f (float[1,4,8,8] x, float[1,4,8,8] z, float xs, uint8 xz, float zs, uint8 zz, float ys,
    uint8 yz) => (float[1,4,8,8] y) {
    xq = QuantizeLinear(x, xs, xz)
    xd = DequantizeLinear(xq, xs, xz)
    zq = QuantizeLinear(z, zs, zz)
    zd = DequantizeLinear(zq, zs, zz)
    s = Add(xd, zd)
    sq = QuantizeLinear(s, ys, yz)
    y = DequantizeLinear(sq, ys, yz) }"""
TWO_DATA: dict[str, Any] = {
    "xs": np.float32(0.02),
    "xz": np.uint8(128),
    "zs": np.float32(0.03),
    "zz": np.uint8(120),
    "ys": np.float32(0.05),
    "yz": np.uint8(124),
}
MOVED = TWO.replace("s = Add(xd, zd)", "s = Transpose<perm=[0,1,3,2]>(xd)").replace(
    "float[1,4,8,8] z, ", ""
)
MOVED = "\n".join(line for line in MOVED.splitlines() if " zq " not in line and " zd " not in line)
MOVED = MOVED.replace("float zs, uint8 zz, float ys,\n    uint8 yz", "float ys, uint8 yz")
MOVED_DATA = {k: v for k, v in TWO_DATA.items() if k not in ("zs", "zz")}

HALF = """f (float16[1,4] x, float16[4,4] w) => (float16[1,4] y) { y = MatMul(x, w) }"""

OPERATOR = """f (uint8[1,4,8,8] x, float xs, uint8 xz, int8[8,4,1,1] w, float ws, int8 wz, float ys,
    uint8 yz) => (uint8[1,8,8,8] y) { y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz) }"""
OPERATOR_DATA = {
    "xs": np.float32(0.02),
    "xz": np.uint8(128),
    "w": _codes(8, 4, 1, 1),
    "ws": np.float32(0.01),
    "wz": np.int8(0),
    "ys": np.float32(0.05),
    "yz": np.uint8(0),
}


@dataclass(frozen=True)
class Fault:
    """A model, where it is to run, and the rules that it breaks there, with the nodes.

    Attributes:
        target: The target.
        text: The graph.
        data: Its constants.
        found: (rule, node) of each error and warning that is to be found.
        notes: (rule, node) of notes that are to be found, among others.
        opset: The operator set that the model says.
        integer: What onnxruntime's CPU provider does with the layer; None = not asked.
    """

    target: str
    text: str
    data: dict[str, Any]
    found: set[tuple[str, str]] = field(default_factory=set)
    notes: set[tuple[str, str]] = field(default_factory=set)
    opset: int = 21
    integer: bool | None = None


def made(fault: Fault) -> ir.Model:
    """Returns the model of a fault, in the opset that it says."""
    names = fault.text.split("=>")[0]
    data = {k: v for k, v in fault.data.items() if f" {k}," in names or f" {k})" in names}
    model = build(fault.text, **data)
    model.graph.opset_imports[""] = fault.opset
    return model


def _conv(
    *changes: tuple[str, str],
    target: str = "cpu",
    data: Mapping[str, Any] | None = None,
    found: set[tuple[str, str]] | None = None,
    notes: set[tuple[str, str]] | None = None,
    opset: int = 21,
    integer: bool | None = None,
) -> Fault:
    """The convolution, with pieces of its text and some of its constants replaced."""
    text = CONV
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    constants = {**CONV_DATA, **(data or {})}
    wanted = found or set(), notes or set()
    return Fault(target, text, constants, *wanted, opset=opset, integer=integer)


_SIGNED_WEIGHT = "int8[8,4,3,3] wq, float[8] ws, int8[8] wz"
_UNSIGNED = {"wq": _codes(8, 4, 3, 3).view(np.uint8)}

CLEAN = {
    "cpu": Fault("cpu", CONV, CONV_DATA, integer=True),
    "cpu-signed": Fault("cpu", SIGNED, {**SIGNED_DATA, "yz": np.int8(-128)}),
    "cpu-product": Fault("cpu", MATMUL, MATMUL_DATA, integer=True),
    "cpu-sum": Fault("cpu", TWO, TWO_DATA),
    "cpu-moved": Fault("cpu", MOVED, {**MOVED_DATA, "ys": np.float32(0.02), "yz": np.uint8(128)}),
    "cpu-full-range": _conv(target="cpu-vnni", data={"wq": _codes(8, 4, 3, 3, most=127)}),
    "cpu-lists": _conv(
        ("float xs, uint8 xz", "float[1] xs, uint8 xz"),
        data={"xs": np.full(1, 0.02, np.float32)},
    ),
    "cpu-operators": Fault("cpu", OPERATOR, OPERATOR_DATA),
    "wasm": Fault("wasm", CONV, CONV_DATA),
    "tensorrt": Fault("tensorrt", SIGNED, SIGNED_DATA),
    "openvino": Fault("openvino", SIGNED, SIGNED_DATA),
    "qnn": Fault("qnn", UNITS, UNITS_DATA),
    "qnn-unsigned": Fault(
        "qnn",
        UNITS.replace(
            "int8[8,4,3,3] wq, float[8] ws, int8[8] wz", "uint8[8,4,3,3] wq, float ws, uint8 wz"
        ),
        {
            **UNITS_DATA,
            "wq": _codes(8, 4, 3, 3).view(np.uint8),
            "ws": np.float32(0.01),
            "wz": np.uint8(7),
        },
    ),
    "cuda": Fault("cuda", HALF, {"w": np.ones((4, 4), np.float16)}),
    "coreml": Fault("coreml", HALF, {"w": np.ones((4, 4), np.float16)}),
}

_FLOAT_W = ("w = DequantizeLinear<axis=0>(wq, ws, wz)\n", "\n")
_W_INPUT = ("int8[8,4,3,3] wq, float[8] ws, int8[8] wz", "float[8,4,3,3] w")

FAULTS = {
    "pair around LayerNormalization": Fault(
        "cpu",
        TWO.replace("s = Add(xd, zd)", "s = LayerNormalization(xd, g)").replace(
            "float zs", "float[8] g, float zs"
        ),
        {**TWO_DATA, "g": np.ones(8, np.float32)},
        {("wasted-pair", "node_xq"), ("wasted-pair", "node_zq"), ("wasted-pair", "node_sq")},
        {("float-island", "node_s")},
    ),
    "asymmetric int8 for TensorRT": Fault(
        "tensorrt",
        SIGNED,
        {**SIGNED_DATA, "xz": np.int8(-3)},
        {("asymmetric-activation", "node_c")},
    ),
    "uint8 for TensorRT": Fault(
        "tensorrt", CONV, CONV_DATA, {("activation-type", "node_c"), ("bias-type", "node_c")}
    ),
    "no zero point, so uint8, for TensorRT": Fault(
        "tensorrt",
        SIGNED.replace("(x, xs, xz)", "(x, xs)").replace("(xq, xs, xz)", "(xq, xs)"),
        SIGNED_DATA,
        {("activation-type", "node_c")},
    ),
    "int32 bias for TensorRT": Fault(
        "tensorrt",
        CONV.replace("uint8", "int8"),
        {**CONV_DATA, "xz": np.int8(0), "yz": np.int8(0)},
        {("bias-type", "node_c")},
    ),
    "asymmetric weight for TensorRT": Fault(
        "tensorrt",
        SIGNED,
        {**SIGNED_DATA, "wz": np.full(8, 3, np.int8)},
        {("asymmetric-weight", "node_c")},
    ),
    "scale per channel of an activation for TensorRT": Fault(
        "tensorrt",
        SIGNED.replace("float xs, int8 xz", "float[4] xs, int8[4] xz"),
        {**SIGNED_DATA, "xs": np.full(4, 0.02, np.float32), "xz": np.zeros(4, np.int8)},
        {("activation-channels", "node_c")},
    ),
    "integer operators for TensorRT": Fault(
        "tensorrt", OPERATOR, OPERATOR_DATA, {("operator-form", "node_y")}
    ),
    "pair between convolution and Relu for TensorRT": Fault(
        "tensorrt",
        UNITS.replace("uint8", "int8")
        .replace("int32[8] bq, float[8] bs", "float[8] b")
        .replace("b = DequantizeLinear<axis=0>(bq, bs)\n", ""),
        {**SIGNED_DATA, "cs": np.float32(0.04), "cz": np.int8(0)},
        {("pair-before-function", "node_r")},
    ),
    "weight along the wrong axis": _conv(
        ("int8[8,4,3,3] wq", "int8[8,8,3,3] wq"),
        ("float[1,4,8,8] x", "float[1,8,8,8] x"),
        ("w = DequantizeLinear<axis=0>(wq", "w = DequantizeLinear(wq"),
        data={"wq": _codes(8, 8, 3, 3)},
        found={("weight-axis", "node_c")},
    ),
    "transposed convolution per output channel for TensorRT": Fault(
        "tensorrt",
        SIGNED.replace("Conv<pads=[1,1,1,1]>", "ConvTranspose<pads=[1,1,1,1]>")
        .replace("int8[8,4,3,3] wq", "int8[4,8,3,3] wq")
        .replace("<axis=0>(wq", "<axis=1>(wq"),
        {**SIGNED_DATA, "wq": _codes(4, 8, 3, 3)},
        {("weight-axis", "node_c")},
    ),
    "scales per channel of a Gemm for QNN": Fault(
        "qnn",
        UNITS.replace("Conv<pads=[1,1,1,1]>", "Gemm<transB=1>")
        .replace("float[1,4,8,8] x", "float[1,4] x")
        .replace("float[1,8,8,8] y", "float[1,8] y")
        .replace("int8[8,4,3,3] wq", "int8[8,4] wq"),
        {**UNITS_DATA, "wq": _codes(8, 4)},
        {("weight-channels", "node_c")},
    ),
    "codes that saturate without VNNI": _conv(
        data={"wq": _codes(8, 4, 3, 3, most=127)}, found={("saturation", "node_c")}
    ),
    "weight stored as floats": _conv(
        ("int8[8,4,3,3] wq", "float[8,4,3,3] wf"),
        ("w = Deq", "wq = QuantizeLinear<axis=0>(wf, ws, wz)\n    w = Deq"),
        data={"wf": np.ones((8, 4, 3, 3), np.float32)},
        found={("unfolded-weight", "node_c")},
    ),
    "float weight between codes": _conv(
        _W_INPUT,
        _FLOAT_W,
        data={"w": np.ones((8, 4, 3, 3), np.float32)},
        found={("silent-weight", "node_c")},
    ),
    "weights dequantized for a float convolution": _conv(
        ("(xd, w, b)", "(x, w, b)"),
        ("    xq = QuantizeLinear(x, xs, xz)\n", ""),
        ("    xd = DequantizeLinear(xq, xs, xz)\n", ""),
        found={("weight-only-layer", "node_c")},
        integer=False,
    ),
    "int4 weight of a convolution": _conv(
        ("int8[8,4,3,3] wq, float[8] ws, int8[8] wz", "int4[8,4,3,3] wq, float[8] ws"),
        ("(wq, ws, wz)", "(wq, ws)"),
        data={"wq": _codes(8, 4, 3, 3, most=7).astype(ml_dtypes.int4)},
        found={("packed-weight", "node_c")},
        integer=False,
    ),
    "transposed convolution on the CPU": _conv(
        ("Conv<pads=[1,1,1,1]>", "ConvTranspose<pads=[1,1,1,1]>"),
        ("int8[8,4,3,3] wq", "int8[4,8,3,3] wq"),
        ("<axis=0>(wq", "<axis=1>(wq"),
        data={"wq": _codes(4, 8, 3, 3)},
        found={("weight-only-layer", "node_c"), ("wasted-pair", "node_xq")},
        notes={("float-layer", "node_c")},
        integer=False,
    ),
    "uint8 weight for OpenVINO": Fault(
        "openvino",
        SIGNED.replace(
            "int8[8,4,3,3] wq, float[8] ws, int8[8] wz",
            "uint8[8,4,3,3] wq, float[8] ws, uint8[8] wz",
        ),
        {**SIGNED_DATA, "wq": _codes(8, 4, 3, 3).view(np.uint8), "wz": np.full(8, 7, np.uint8)},
        {("weight-type", "node_c"), ("asymmetric-weight", "node_c")},
    ),
    "16-bit weight": _conv(
        ("int8[8,4,3,3] wq, float[8] ws, int8[8] wz", "int16[8,4,3,3] wq, float[8] ws"),
        ("(wq, ws, wz)", "(wq, ws)"),
        data={"wq": _codes(8, 4, 3, 3).astype(np.int16)},
        found={("weight-type", "node_c")},
        integer=False,
    ),
    "bias with another scale": _conv(
        data={"bs": np.full(8, 3e-4, np.float32)},
        found={("bias-scale", "node_c")},
        integer=False,
    ),
    "int8 bias": _conv(
        ("int32[8] bq", "int8[8] bq"),
        data={"bq": np.arange(8, dtype=np.int8)},
        found={("bias-type", "node_c")},
        integer=False,
    ),
    "float bias behind a product": Fault(
        "cpu",
        MATMUL.replace("int32[8] bq, float[8] bs", "float[8] b").replace(
            "b = DequantizeLinear<axis=0>(bq, bs)\n", "\n"
        ),
        {**MATMUL_DATA, "b": np.ones(8, np.float32)},
        {("bias-trap", "node_m")},
        integer=False,
    ),
    "output that is not quantized": _conv(
        ("    r = Relu(c)\n    rq = QuantizeLinear(r, ys, yz)\n", ""),
        ("y = DequantizeLinear(rq, ys, yz)", "y = Relu(c)"),
        found={("no-output-pair", "node_c")},
        integer=False,
    ),
    "output that floats read too": _conv(
        ("=> (float[1,8,8,8] y)", "=> (float[1,8,8,8] y, float[1,8,8,8] t)"),
        ("r = Relu(c)", "r = Relu(c)\n    t = Tanh(r)"),
        found={("several-readers", "node_c")},
        integer=False,
    ),
    "Relu above the least code": _conv(
        data={"yz": np.uint8(3)},
        found={("saturating-function", "node_r")},
        integer=False,
    ),
    "Clip below the greatest code": _conv(
        ("r = Relu(c)", "r = Clip(c, low, high)"),
        ("float ys,", "float low, float high, float ys,"),
        data={"low": np.float32(0), "high": np.float32(6)},
        found={("saturating-function", "node_r")},
        integer=False,
    ),
    "pair between convolution and Relu": Fault(
        "cpu", UNITS, UNITS_DATA, {("pair-before-function", "node_r")}
    ),
    "Gemm with alpha": Fault(
        "cpu",
        MATMUL.replace("MatMul(xd, w)", "Gemm<alpha=2.0>(xd, w)").replace("[1,9,", "[9,"),
        MATMUL_DATA,
        {("attribute", "node_m")},
    ),
    "signed bytes with two readers": Fault(
        "cpu",
        SIGNED.replace("r = Relu(c)", "t = Tanh(xd)\n    r = Relu(c)").replace(
            "=> (float[1,8,8,8] y)", "=> (float[1,8,8,8] y, float[1,4,8,8] t)"
        ),
        {**SIGNED_DATA, "yz": np.int8(-128)},
        {("signed-activation", "node_c")},
        integer=False,
    ),
    "16-bit activations": _conv(
        ("uint8", "uint16"),
        data={"xz": np.uint16(128), "yz": np.uint16(0)},
        found={("activation-type", "node_c")},
        integer=False,
    ),
    "sum with one float operand": Fault(
        "cpu",
        TWO.replace("s = Add(xd, zd)", "s = Add(xd, z)"),
        TWO_DATA,
        {("half-quantized", "node_s"), ("wasted-pair", "node_zq")},
    ),
    "transposed codes with another scale": Fault(
        "cpu", MOVED, MOVED_DATA, {("moved-params", "node_s")}
    ),
    "codes read with another scale": _conv(
        ("xd = DequantizeLinear(xq, xs, xz)", "xd = DequantizeLinear(xq, ys, xz)"),
        found={("pair-mismatch", "node_xd"), ("bias-scale", "node_c")},
    ),
    "quantized twice": _conv(
        (
            "xd = DequantizeLinear(xq, xs, xz)",
            """p = DequantizeLinear(xq, xs, xz)
    q = QuantizeLinear(p, ys, xz)
    xd = DequantizeLinear(q, ys, xz)""",
        ),
        data={"bs": np.full(8, np.float32(0.05) * np.float32(0.01), np.float32)},
        found={("double-pair", "node_q")},
    ),
    "scale of zero": _conv(
        data={"ws": np.zeros(8, np.float32), "bs": np.zeros(8, np.float32)},
        found={("pair-form", "node_w"), ("pair-form", "node_b")},
    ),
    "computed scale": _conv(
        ("xq = Q", "s = ReduceMax<keepdims=0>(x)\n    xq = Q"),
        ("(x, xs, xz)", "(x, s, xz)"),
        ("(xq, xs, xz)", "(xq, s, xz)"),
        found={("computed-scale", "node_xq"), ("computed-scale", "node_xd")},
    ),
    "opset too old for a scale per channel": _conv(
        opset=12, found={("opset", "node_w"), ("opset", "node_b")}
    ),
    "opset too old for int4": Fault(
        "cpu",
        MATMUL.replace(
            "int8[16,8] wq, float[8] ws, int8[8] wz", "int4[16,8] wq, float[8] ws"
        ).replace("(wq, ws, wz)", "(wq, ws)"),
        {**MATMUL_DATA, "wq": _codes(16, 8, most=7).astype(ml_dtypes.int4)},
        {("opset", "node_w"), ("packed-weight", "node_m")},
        opset=19,
    ),
    "zero point beside 0 for OpenVINO": Fault(
        "openvino",
        SIGNED,
        {**SIGNED_DATA, "xz": np.int8(5)},
        {("asymmetric-activation", "node_c")},
    ),
    "open batch for QNN": Fault(
        "qnn",
        UNITS.replace("float[1,4,8,8] x", "float[N,4,8,8] x"),
        UNITS_DATA,
        {("dynamic-shape", "x")},
    ),
    "signed bytes for QNN": Fault(
        "qnn",
        UNITS.replace("uint8", "int8"),
        {**UNITS_DATA, "xz": np.int8(0), "yz": np.int8(0), "cz": np.int8(0)},
        {("activation-type", "node_c"), ("activation-type", "node_r")},
    ),
    "no whole unit for QNN": Fault("qnn", CONV, CONV_DATA, {("no-output-pair", "node_c")}),
    "integer operators for QNN": Fault(
        "qnn", OPERATOR, OPERATOR_DATA, {("operator-form", "node_y")}
    ),
    "quantized for CUDA": Fault("cuda", CONV, CONV_DATA, {("no-kernels", "node_xq")}),
    "integer operators for CUDA": Fault(
        "cuda", OPERATOR, OPERATOR_DATA, {("operator-form", "node_y")}
    ),
    "quantized for CoreML": Fault("coreml", CONV, CONV_DATA, {("no-kernels", "node_xq")}),
    "half precision beyond its range": Fault(
        "cuda",
        HALF,
        {"w": np.full((4, 4), np.inf, np.float16)},
        {("half-overflow", "node_y")},
    ),
    "half precision cut to its range": Fault(
        "cuda",
        HALF,
        {"w": np.full((4, 4), 65504, np.float16)},
        {("half-overflow", "node_y")},
    ),
    "half precision below its range": Fault(
        "cuda",
        HALF,
        {"w": np.full((4, 4), 5.9604645e-08, np.float16)},
        {("half-underflow", "node_y")},
    ),
    "dynamic convolution": Fault(
        "cpu",
        """f (float[1,4,8,8] x, uint8[8,4,1,1] w) => (int32[1,8,8,8] y) {
            q, s, z = DynamicQuantizeLinear(x)
            y = ConvInteger(q, w, z) }""",
        {"w": np.ones((8, 4, 1, 1), np.uint8)},
        {("dynamic-layer", "node_y")},
    ),
}
