# ruff: noqa: E501 - a graph on one line is read as one
"""What exporters write between two convolutions: name → graph."""

from __future__ import annotations

from typing import Any

__all__ = ["AT_OPSET", "BETWEEN", "CONSTANTS", "GIVEN"]


def _body(text: str, **declared: str) -> str:
    """A net of two convolutions with ``text`` between them, from value c to value d."""
    extra = "".join(f", {kind} {name}" for name, kind in declared.items())
    return (
        f"net (float[1,3,16,16] x, float[8,3,3,3] w1, float[8] b1, float[8,8,3,3] w2{extra}) => "
        f"(float[N,8,OH,OW] y) {{ c = Conv<pads=[1,1,1,1]>(x, w1, b1) {text} "
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
