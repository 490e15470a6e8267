"""Whatever an exporter may write goes through: small models in many dialects, end to end.

Each model runs at both optimization levels and resembles what it was made from. To keep models small
and yet have something to quantize, integers are taken to cost nothing here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import onnx.parser
import pytest

from onnxq.plan.cost import CostTable, KernelCost
from onnxq.plan.target import Target, load_target
from tests.e2e.exports import assert_goes_through, export


@pytest.fixture(autouse=True)
def _all_that_can_be_is_integer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.pipeline.load_target", eager_target)
    monkeypatch.setattr("onnxq.report.verify._BUDGET_S", 0.01)


def eager_target(name: str) -> Target:
    """A target on which integer kernels and conversions cost nothing."""
    real, free = load_target(name), KernelCost()
    slow = dict.fromkeys(real.costs.real, KernelCost(call_us=1000))
    return replace(real, costs=CostTable({}, slow, free, free))


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


def _body(text: str, size: str = "1,8,16,16", out: str = "", **declared: str) -> str:
    """A net of two convolutions with ``text`` between them, from value c to value d."""
    extra = "".join(f", {kind} {name}" for name, kind in declared.items())
    return (
        f"net (float[1,3,16,16] x, float[8,3,3,3] w1, float[8] b1, float[8,8,3,3] w2{extra}) => "
        f"(float[N,8,OH,OW] y{out}) {{ c = Conv<pads=[1,1,1,1]>(x, w1, b1) {text} "
        "y = Conv<pads=[1,1,1,1]>(d, w2) }"
    )


VECTOR = "float[8]"
SCALAR = "float"
BETWEEN = {
    "identity": _body("i = Identity(c) r = Relu(i) d = Identity(r)"),
    "dropout v7": _body("r = Relu(c) d = Dropout<ratio=0.4>(r)"),
    "dropout v12 with mask": _body("r = Relu(c) d, mask = Dropout(r)"),
    "constant nodes": _body("k = Constant<value=float {0.5}>() m = Mul(c, k) d = Relu(m)"),
    "batchnorm behind": _body(
        "n = BatchNormalization(c, s, bb, m, sv) d = Relu(n)",
        s=VECTOR, bb=VECTOR, m=VECTOR, sv=VECTOR,
    ),
    "batchnorm before": _body(
        "r = Relu(c) d = BatchNormalization(r, s, bb, m, sv)",
        s=VECTOR, bb=VECTOR, m=VECTOR, sv=VECTOR,
    ),
    "pad": _body("r = Relu(c) d = Pad(r, p)", p="int64[8]"),
    "pad v2": _body("r = Relu(c) d = Pad<pads=[0,0,1,1,0,0,1,1]>(r)"),
    "reflected pad": _body('r = Relu(c) d = Pad<mode="reflect">(r, p)', p="int64[8]"),
    "mul and add": _body("m = Mul(c, s) a = Add(m, o) d = Relu(a)", s="float[8,1,1]", o="float[8,1,1]"),
    "squeeze and excite": _body(
        "r = Relu(c) g = ReduceMean<axes=[2,3]>(r) e = Conv(g, we) h = Relu(e) u = Conv(h, wu) "
        "q = HardSigmoid<alpha=0.16667>(u) d = Mul(r, q)",
        we="float[4,8,1,1]", wu="float[8,4,1,1]",
    ),
    "squeeze and excite with ReduceMean 18": _body("r = Relu(c) g = ReduceMean(r, axes) q = Sigmoid(g) d = Mul(r, q)", axes="int64[2]"),
    "hardswish": _body("d = HardSwish(c)"),
    "hardswish from add, clip, mul, div": _body(
        "a = Add(c, k3) q = Clip(a, k0, k6) m = Mul(c, q) d = Div(m, k6)",
        k0=SCALAR, k3=SCALAR, k6=SCALAR,
    ),
    "hardswish from hardsigmoid": _body("q = HardSigmoid<alpha=0.1666667>(c) d = Mul(c, q)"),
    "silu": _body("q = Sigmoid(c) d = Mul(c, q)"),
    "swish as an operator": _body("d = Swish(c)"),
    "gelu from erf": _body(
        "v = Div(c, kr) e = Erf(v) a = Add(e, k1) m = Mul(c, a) d = Mul(m, kh)",
        kr=SCALAR, k1=SCALAR, kh=SCALAR,
    ),
    "gelu": _body("d = Gelu(c)"),
    "mish": _body("t = Softplus(c) u = Tanh(t) d = Mul(c, u)"),
    "leaky relu": _body("d = LeakyRelu<alpha=0.1>(c)"),
    "prelu": _body("d = PRelu(c, s)", s="float[8,1,1]"),
    "relu6": _body("d = Clip<min=0.0, max=6.0>(c)"),
    "clip without a lower bound": _body("d = Clip(c, , k6)", k6=SCALAR),
    "clip without an upper bound": _body("d = Clip(c, k0)", k0=SCALAR),
    "clip without bounds": _body("d = Clip(c)"),
    "clip above zero": _body("q = Clip(c, km, k6) d = Relu(q)", km=SCALAR, k6=SCALAR),
    "relu twice": _body("a = Relu(c) d = Relu(a)"),
    "max pool": _body("r = Relu(c) d = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)"),
    "max pool with indices": _body("r = Relu(c) d, i = MaxPool<kernel_shape=[2,2]>(r)"),
    "pools side by side": _body(
        "r = Relu(c) p = MaxPool<kernel_shape=[5,5], pads=[2,2,2,2]>(r) "
        "q = MaxPool<kernel_shape=[5,5], pads=[2,2,2,2]>(p) t = Concat<axis=1>(r, p, q) "
        "d = Conv(t, w3)",
        w3="float[8,24,1,1]",
    ),
    "average pool": _body("r = Relu(c) d = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(r)"),
    "residual with relu": _body("r = Relu(c) e = Conv(r, w3) a = Add(e, r) d = Relu(a)", w3="float[8,8,1,1]"),
    "sum": _body("r = Relu(c) e = Conv(r, w3) a = Sum(e, r, c) d = Relu(a)", w3="float[8,8,1,1]"),
    "sub, div, max": _body("r = Relu(c) a = Sub(r, c) b = Max(a, r) d = Div(b, k6)", k6=SCALAR),
    "value with itself": _body("r = Relu(c) d = Add(r, r)"),
    "split": _body("a, b = Split<axis=1>(c, sizes) e = Relu(a) d = Concat<axis=1>(e, b)", sizes="int64[2]"),
    "split v2": _body("a, b = Split<axis=1, split=[3,5]>(c) e = Relu(a) d = Concat<axis=1>(e, b)"),
    "focus": _body(
        "a = Slice(c, at0, ends, axes, two) b = Slice(c, at1, ends, axes, two) "
        "t = Concat<axis=1>(a, b) d = Conv(t, w3)",
        at0="int64[1]", at1="int64[1]", ends="int64[1]", axes="int64[1]", two="int64[1]",
        w3="float[8,16,1,1]",
    ),
    "channel shuffle": _body(
        "r = Relu(c) a = Reshape(r, to) b = Transpose<perm=[0,2,1,3,4]>(a) e = Reshape(b, back) "
        "d = Conv<group=8>(e, w3)",
        to="int64[5]", back="int64[4]", w3="float[8,1,1,1]",
    ),
    "nearest upsampling": _body(
        'r = Relu(c) d = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", '
        'nearest_mode="floor">(r, , scales)',
        scales="float[4]",
    ),
    "linear upsampling": _body('r = Relu(c) d = Resize<mode="linear">(r, , scales)', scales="float[4]"),
    "upsample v9": _body('r = Relu(c) d = Upsample<mode="nearest">(r, scales)', scales="float[4]"),
    "depth to space": _body(
        "e = Conv(c, w3) r = Relu(e) d = DepthToSpace<blocksize=2>(r)", w3="float[32,8,1,1]"
    ),
    "space to depth": _body(
        "r = Relu(c) e = SpaceToDepth<blocksize=2>(r) d = Conv(e, w3)", w3="float[8,32,1,1]"
    ),
    "grouped": _body("d = Conv<group=2>(c, w3)", w3="float[8,4,1,1]"),
    "depthwise": _body("e = Conv<group=8, pads=[1,1,1,1]>(c, w3) d = Clip(e, k0, k6)",
                       w3="float[8,1,3,3]", k0=SCALAR, k6=SCALAR),
    "depthwise with multiplier": _body(
        "e = Conv<group=8>(c, w3) r = Relu(e) d = Conv(r, w4)", w3="float[16,1,1,1]", w4="float[8,16,1,1]"
    ),
    "dilated": _body("d = Conv<dilations=[2,2], pads=[2,2,2,2]>(c, w3)", w3="float[8,8,3,3]"),
    "automatic padding": _body('d = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(c, w3)', w3="float[8,8,3,3]"),
    "transposed": _body("r = Relu(c) d = ConvTranspose<strides=[2,2]>(r, w3, b3)",
                        w3="float[8,8,2,2]", b3=VECTOR),
    "transposed with batchnorm": _body(
        "e = ConvTranspose<strides=[2,2]>(c, w3) n = BatchNormalization(e, s, bb, m, sv) d = Relu(n)",
        w3="float[8,8,2,2]", s=VECTOR, bb=VECTOR, m=VECTOR, sv=VECTOR,
    ),
    "instance norm": _body("n = InstanceNormalization(c, s, bb) d = Relu(n)", s=VECTOR, bb=VECTOR),
    "group norm": _body("n = GroupNormalization<num_groups=2>(c, s, bb) d = Relu(n)", s=VECTOR, bb=VECTOR),
    "lrn": _body("r = Relu(c) d = LRN<size=5>(r)"),
    "softmax over channels": _body("d = Softmax<axis=1>(c)"),
    "cast and back": _body("i = Cast<to=10>(c) d = Cast<to=1>(i)"),
    "where": _body("m = Greater(c, k0) d = Where(m, c, k0)", k0=SCALAR),
    "if": _body(
        "r = Relu(c) k = ReduceMax<keepdims=0>(r) t = Greater(k, k0) "
        "d = If (t) <then_branch = a () => (float[1,8,16,16] ta) { ta = Conv(r, w3) }, "
        "else_branch = b () => (float[1,8,16,16] tb) { tb = Neg(r) }>",
        k0=SCALAR, w3="float[8,8,1,1]",
    ),
    "loop": _body(
        "r = Relu(c) d = Loop (trips, go, r) <body = b (int64 i, bool on, float[1,8,16,16] v) => "
        "(bool off, float[1,8,16,16] o) { off = Identity(on) o = Conv(v, w3) }>",
        trips="int64", go="bool", w3="float[8,8,1,1]",
    ),
}  # fmt: skip
GIVEN: dict[str, dict[str, Any]] = {
    "pad": {"p": [0, 0, 1, 1, 0, 0, 1, 1]},
    "reflected pad": {"p": [0, 0, 1, 1, 0, 0, 1, 1]},
    "split": {"sizes": [3, 5]},
    "focus": {"at0": [0], "at1": [1], "ends": [16], "axes": [3], "two": [2]},
    "channel shuffle": {"to": [1, 2, 4, 16, 16], "back": [1, 8, 16, 16]},
    "nearest upsampling": {"scales": [1, 1, 2, 2]},
    "linear upsampling": {"scales": [1, 1, 2, 2]},
    "upsample v9": {"scales": [1, 1, 2, 2]},
    "squeeze and excite with ReduceMean 18": {"axes": [2, 3]},
    "loop": {"trips": 2, "go": True},
}
AT_OPSET = {
    "dropout v7": 9,
    "pad v2": 9,
    "squeeze and excite with ReduceMean 18": 18,
    "swish as an operator": 24,
    "gelu": 20,
    "mish": 17,
    "relu6": 9,
    "split v2": 11,
    "upsample v9": 9,
    "group norm": 21,
}
CONSTANTS = {"k0": 0.0, "k1": 1.0, "k3": 3.0, "k6": 6.0, "kh": 0.5, "kr": 2**0.5, "km": -1.0}


@pytest.mark.parametrize("name", BETWEEN)
def test_between_two_convolutions(name: str) -> None:
    opset = AT_OPSET.get(name, 14)
    given = {**CONSTANTS, **GIVEN.get(name, {})}
    assert_goes_through(export(BETWEEN[name], opset, 10 if opset > 17 else 8, **given))


IMAGE = "float[1,3,16,16] x, float[8,3,3,3] w1, float[8] b1"
WHOLE: dict[str, str] = {
    "two inputs": """net (float[1,3,16,16] x1, float[1,5] x2, float[8,3,3,3] w1, float[5,8] w2) =>
        (float[1,8,14,14] y) { c = Conv(x1, w1) v = MatMul(x2, w2) u = Reshape(v, to)
        m = Mul(c, u) y = Relu(m) }""",
    "bytes in": """net (uint8[1,3,16,16] x, float[8,3,3,3] w1) => (float[1,8,14,14] y)
        { f = Cast<to=1>(x) d = Div(f, k255) y = Conv(d, w1) }""",
    "bytes in, channels last": """net (uint8[1,16,16,3] x, float[8,3,3,3] w1) => (float[1,8,14,14] y)
        { f = Cast<to=1>(x) t = Transpose<perm=[0,3,1,2]>(f) s0 = Sub(t, k128) s1 = Div(s0, k128)
        y = Conv(s1, w1) }""",
    "normalized in the graph": f"""net ({IMAGE}, float[1,3,1,1] smean, float[1,3,1,1] sdev) =>
        (float[1,8,14,14] y) {{ m = Sub(x, smean) d = Div(m, sdev) y = Conv(d, w1, b1) }}""",
    "several outputs": f"""net ({IMAGE}, float[8,8,3,3] w2, float[4,8,1,1] w3) =>
        (float[1,4,14,14] y1, float[1,8,12,12] y2, float[1,8,14,14] y3)
        {{ c = Conv(x, w1, b1) y3 = Relu(c) y1 = Conv(y3, w3) y2 = Conv(y3, w2) }}""",
    "output that is an input": f"""net ({IMAGE}) => (float[1,8,14,14] y, float[1,3,16,16] x)
        {{ y = Conv(x, w1, b1) }}""",
    "output that is a weight": f"""net ({IMAGE}) => (float[1,8,14,14] y, float[8] b1)
        {{ y = Conv(x, w1, b1) }}""",
    "output twice": f"""net ({IMAGE}) => (float[1,8,14,14] y, float[1,8,14,14] z)
        {{ y = Conv(x, w1, b1) z = Identity(y) }}""",
    "shared weight": f"""net ({IMAGE}, float[8,8,3,3] w2) => (float[1,8,10,10] y)
        {{ c = Conv(x, w1, b1) d = Conv(c, w2) r = Relu(d) y = Conv(r, w2) }}""",
    "shared weight, other scale": f"""net ({IMAGE}, float[8,8,3,3] w2) => (float[1,8,10,10] y)
        {{ c = Conv(x, w1, b1) m = Mul(c, k255) d = Conv(m, w2) e = Div(d, k255) r = Relu(e)
        y = Conv(r, w2) }}""",
    "shared bias": f"""net ({IMAGE}, float[8,8,3,3] w2) => (float[1,8,12,12] y)
        {{ c = Conv(x, w1, b1) r = Relu(c) y = Conv(r, w2, b1) }}""",
    "weight through a transpose": """net (float[1,16] x, float[8,16] w1) => (float[1,8] y)
        { t = Transpose(w1) y = MatMul(x, t) }""",
    "weight that is computed": """net (float[1,3,16,16] x, float[8,27] w1) => (float[1,8,14,14] y)
        { w = Reshape(w1, shape4) y = Conv(x, w) }""",
    "weight that is an input": """net (float[1,3,8,8] x1, float[8,3,3,3] x2) => (float[1,8,6,6] y)
        { r = Relu(x1) y = Conv(r, x2) }""",
    "dynamic batch": """net (float[N,3,16,16] x, float[8,3,3,3] w1, float[10,8] w2, float[10] b2) =>
        (float[N,10] y) { c = Conv(x, w1) r = Relu(c) g = GlobalAveragePool(r) f = Flatten(g)
        y = Gemm<transB=1>(f, w2, b2) }""",
    "dynamic size": """net (float[N,3,H,W] x, float[8,3,3,3] w1, float[4,8,1,1] w2) =>
        (float[N,4,OH,OW] y) { c = Conv<pads=[1,1,1,1]>(x, w1) r = Relu(c) y = Conv(r, w2) }""",
    "view by shape": """net (float[N,3,16,16] x, float[8,3,3,3] w1, float[1568,10] w2) =>
        (float[N,10] y) { c = Conv(x, w1) r = Relu(c) s = Shape(r) n = Gather(s, i0)
        u = Unsqueeze(n, ax0) to2 = Concat<axis=0>(u, minus) f = Reshape(r, to2) y = MatMul(f, w2) }""",
    "gemm with batchnorm": """net (float[4,16] x, float[16,8] w1, float[8] b1, float[8] s, float[8] bb,
        float[8] m, float[8] sv, float[8,4] w2) => (float[4,4] y) { g = Gemm(x, w1, b1)
        n = BatchNormalization(g, s, bb, m, sv) r = Relu(n) y = Gemm(r, w2) }""",
    "matmul with bias": """net (float[1,6,16] x, float[16,8] w1, float[8] b1, float[8,4] w2) =>
        (float[1,6,4] y) { m = MatMul(x, w1) a = Add(b1, m) r = Relu(a) y = MatMul(r, w2) }""",
    "gemm, everything transposed": """net (float[16,1] x, float[8,16] w1, float[8] b1) =>
        (float[1,8] y) { y = Gemm<transA=1, transB=1, alpha=0.5, beta=2.0>(x, w1, b1) }""",
    "two activations multiplied": """net (float[1,4,8] x1, float[1,8,4] x2) => (float[1,4,4] y)
        { y = MatMul(x1, x2) }""",
    "one dimension": """net (float[1,4,64] x, float[8,4,3] w1, float[8] b1, float[4,8,5] w2) =>
        (float[1,4,L] y) { c = Conv<strides=[2]>(x, w1, b1) r = Relu(c)
        p = MaxPool<kernel_shape=[2]>(r) y = Conv(p, w2) }""",
    "three dimensions": """net (float[1,2,8,8,8] x, float[8,2,3,3,3] w1, float[8] s, float[8] bb,
        float[8] m, float[8] sv, float[4,8,1,1,1] w2) => (float[1,4,A,B,C] y) { c = Conv(x, w1)
        n = BatchNormalization(c, s, bb, m, sv) r = Relu(n)
        p = MaxPool<kernel_shape=[2,2,2], strides=[2,2,2]>(r) y = Conv(p, w2) }""",
    "decoder": f"""net ({IMAGE}, float[8,8,3,3] w2, float[8,8,2,2] w3, float[1,16,1,1] w4) =>
        (float[1,1,16,16] y) {{ c = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(c)
        d = Conv<pads=[1,1,1,1], strides=[2,2]>(r, w2) e = Relu(d)
        u = ConvTranspose<strides=[2,2]>(e, w3) t = Concat<axis=1>(u, r) z = Conv(t, w4)
        y = Sigmoid(z) }}""",
    "transformer": """net (float[1,8,32] x, float[32] s1, float[32] b1, float[32,96] w1, float[96] b2,
        float[32,32] w2, float[32] s2, float[32] b3, float[32,64] w3, float[64] b4, float[64,32] w4)
        => (float[1,8,32] y) {
        n1 = LayerNormalization(x, s1, b1) qkv = MatMul(n1, w1) a = Add(qkv, b2)
        h = Reshape(a, heads) t = Transpose<perm=[2,0,3,1,4]>(h) q, k, v = Split<axis=0>(t, thirds)
        q0 = Squeeze(q, ax0) k0 = Squeeze(k, ax0) v0 = Squeeze(v, ax0)
        kt = Transpose<perm=[0,1,3,2]>(k0) at = MatMul(q0, kt) sc = Div(at, kr) p = Softmax(sc)
        o = MatMul(p, v0) ot = Transpose<perm=[0,2,1,3]>(o) oc = Reshape(ot, tokens)
        pr = MatMul(oc, w2) r1 = Add(x, pr)
        mean = ReduceMean<axes=[-1]>(r1) ctr = Sub(r1, mean) sq = Pow(ctr, k2)
        var = ReduceMean<axes=[-1]>(sq) eps = Add(var, keps) sd = Sqrt(eps) nn = Div(ctr, sd)
        ns = Mul(nn, s2) n2 = Add(ns, b3)
        f1 = MatMul(n2, w3) f2 = Add(f1, b4) g1 = Div(f2, kr) g2 = Erf(g1) g3 = Add(g2, k1)
        g4 = Mul(f2, g3) g5 = Mul(g4, kh) f3 = MatMul(g5, w4) y = Add(r1, f3) }""",
    "lstm": """net (float[4,1,8] x, float[1,64,8] w1, float[1,64,16] w2, float[1,128] b1,
        float[16,5] w3) => (float[4,1,5] y) { h, hn, cn = LSTM<hidden_size=16>(x, w1, w2, b1)
        q = Squeeze(h, ax1) y = MatMul(q, w3) }""",
    "gru": """net (float[4,1,8] x, float[1,48,8] w1, float[1,48,16] w2) => (float[4,1,1,16] y)
        { y, hn = GRU<hidden_size=16>(x, w1, w2) }""",
    "embedding": """net (float[1,6] x, float[10,16] w1, float[16,4] w2) => (float[1,6,4] y)
        { a = Abs(x) i = Cast<to=7>(a) e = Gather(w1, i) y = MatMul(e, w2) }""",
    "top k tail": f"""net ({IMAGE}) => (float[1,5] y, int64[1,5] i) {{ c = Conv(x, w1, b1)
        r = Relu(c) f = Flatten(r) y, i = TopK(f, five) }}""",
    "suppression tail": f"""net ({IMAGE}, float[4,8,1,1] w2, float[2,8,1,1] w3) =>
        (int64[n,3] y, float[1,4,196] boxes) {{ c = Conv(x, w1, b1) r = Relu(c) b = Conv(r, w2)
        boxes = Reshape(b, flat) bt = Transpose<perm=[0,2,1]>(boxes) l = Conv(r, w3)
        s = Sigmoid(l) scores = Reshape(s, flat) y = NonMaxSuppression(bt, scores, five, kh, kh) }}""",
    "boxes beside scores": f"""net ({IMAGE}, float[4,8,1,1] w2, float[2,8,1,1] w3,
        float[1,2,196] sgrid) => (float[1,6,196] y) {{ c = Conv(x, w1, b1) r = Relu(c)
        b = Conv(r, w2) bf = Reshape(b, flat) xy, wh = Split<axis=1>(bf, halves)
        m = Sigmoid(xy) o = Add(m, sgrid) p = Mul(o, k255) e = Exp(wh) q = Mul(e, k128)
        l = Conv(r, w3) s = Sigmoid(l) sf = Reshape(s, flat) y = Concat<axis=1>(p, q, sf) }}""",
    "one pixel": """net (float[1,3,3,3] x, float[8,3,3,3] w1, float[4,8,1,1] w2) =>
        (float[1,4,1,1] y) { c = Conv(x, w1) r = Relu(c) y = Conv(r, w2) }""",
    "one channel": """net (float[1,1,8,8] x, float[1,1,3,3] w1, float[1] b1, float[1,1,3,3] w2) =>
        (float[1,1,4,4] y) { c = Conv(x, w1, b1) r = Relu(c) y = Conv(r, w2) }""",
    "nothing to quantize": "net (float[1,8] x) => (float[1,8] y) { a = Exp(x) y = Sin(a) }",
    "a single node": f"net ({IMAGE}) => (float[1,8,14,14] y) {{ y = Conv(x, w1, b1) }}",
    "an unused branch": f"""net ({IMAGE}, float[8,8,3,3] w2) => (float[1,8,14,14] y)
        {{ c = Conv(x, w1, b1) u = Conv(c, w2) y = Relu(c) }}""",
    "nodes out of order": f"""net ({IMAGE}) => (float[1,8,14,14] y)
        {{ y = Relu(c) c = Conv(x, w1, b1) }}""",
}  # fmt: skip
PARAMETERS: dict[str, tuple[str, Any]] = {
    "to": ("int64[4]", [1, 8, 1, 1]),
    "k255": ("float", 255.0),
    "k128": ("float", 128.0),
    "k1": ("float", 1.0),
    "k2": ("float", 2.0),
    "kr": ("float", 4.0),
    "kh": ("float", 0.5),
    "keps": ("float", 1e-5),
    "shape4": ("int64[4]", [8, 3, 3, 3]),
    "i0": ("int64", 0),
    "ax0": ("int64[1]", [0]),
    "ax1": ("int64[1]", [1]),
    "minus": ("int64[1]", [-1]),
    "heads": ("int64[5]", [1, 8, 3, 4, 8]),
    "thirds": ("int64[3]", [1, 1, 1]),
    "tokens": ("int64[3]", [1, 8, 32]),
    "five": ("int64[1]", [5]),
    "flat": ("int64[3]", [1, -1, 196]),
    "halves": ("int64[2]", [2, 2]),
}


def _mobile() -> str:
    """Inverted residuals with HardSwish and squeeze-and-excite, as in MobileNetV3."""
    inputs, nodes, x = ["float[1,3,32,32] x", "float[16,3,3,3] w0"], [], "h0"
    nodes.append("c0 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w0) h0 = HardSwish(c0)")
    for i in range(3):
        inputs += [f"float[32,16,1,1] we{i}", f"float[32,1,3,3] wd{i}", f"float[8,32,1,1] wr{i}"]
        inputs += [f"float[8] br{i}", f"float[32,8,1,1] wx{i}", f"float[16,32,1,1] wp{i}"]
        nodes.append(f"""e{i} = Conv({x}, we{i}) eh{i} = HardSwish(e{i})
            d{i} = Conv<group=32, pads=[1,1,1,1]>(eh{i}, wd{i}) dh{i} = HardSwish(d{i})
            g{i} = GlobalAveragePool(dh{i}) r{i} = Conv(g{i}, wr{i}, br{i}) rr{i} = Relu(r{i})
            u{i} = Conv(rr{i}, wx{i}) q{i} = HardSigmoid<alpha=0.16666667>(u{i})
            m{i} = Mul(dh{i}, q{i}) p{i} = Conv(m{i}, wp{i}) a{i} = Add({x}, p{i})""")
        x = f"a{i}"
    nodes.append(f"g = GlobalAveragePool({x}) f = Flatten(g) y = Gemm(f, w9)")
    inputs.append("float[16,10] w9")
    return f"net ({', '.join(inputs)}) => (float[1,10] y) {{ {' '.join(nodes)} }}"


@pytest.mark.parametrize("name", WHOLE)
def test_whole_model(name: str) -> None:
    assert_goes_through(_with_parameters(WHOLE[name]))


def _with_parameters(text: str, opset: int = 17, **more: Any) -> onnx.ModelProto:
    """Declares those of PARAMETERS that ``text`` reads."""
    words = set(re.findall(r"\w+", text))
    used = {name: PARAMETERS[name] for name in PARAMETERS if name in words}
    declared = "".join(f", {kind} {name}" for name, (kind, _) in used.items())
    place = text.index(")")
    given = {name: data for name, (_, data) in used.items()}
    return export(text[:place] + declared + text[place:], opset, **given, **more)


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
    assert_goes_through(export(_mobile()))
