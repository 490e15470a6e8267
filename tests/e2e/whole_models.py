# ruff: noqa: E501 - a graph on one line is read as one
"""Small whole models as exporters write them: name → graph."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.e2e.exports import export

if TYPE_CHECKING:
    import onnx

__all__ = ["WHOLE", "mobile_network", "with_parameters"]

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
        (int64[found,3] y, float[1,4,196] boxes) {{ c = Conv(x, w1, b1) r = Relu(c) b = Conv(r, w2)
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
    "a branch inside a loop": f"""net ({IMAGE}, float[8,8,1,1] w2) =>
        (float[1,8,14,14] y) {{ c = Conv(x, w1, b1) r = Relu(c)
        y = Loop (trips, go, r) <body = b (int64 i, bool on, float[1,8,14,14] v) =>
        (bool off, float[1,8,14,14] o) {{ off = Identity(on) k = ReduceMax<keepdims=0>(v)
        t = Greater(k, kh) o = If (t) <then_branch = p () => (float[1,8,14,14] q)
        {{ q = Conv(v, w2) }}, else_branch = e () => (float[1,8,14,14] z) {{ z = Add(v, r) }}> }}> }}""",
    "branches of other sizes": f"""net ({IMAGE}, float[8,8,1,1] w2) => (float[A,B,C,D] y)
        {{ c = Conv(x, w1, b1) r = Relu(c) k = ReduceMax<keepdims=0>(r) t = Greater(k, k255)
        d = If (t) <then_branch = p () => (float[E,F,G,H] q) {{ q = Conv(r, w2) }}, else_branch =
        e () => (float[I,J,K,L] z) {{ z = MaxPool<kernel_shape=[2,2]>(r) }}> y = Conv(d, w2) }}""",
    "branches of other ranks": f"""net ({IMAGE}) => (float[1,8] y)
        {{ c = Conv(x, w1, b1) g = GlobalAveragePool(c) s = Shape(g) n = Size(s) t = Equal(n, i4)
        y = If (t) <then_branch = p () => (float[A,B] q) {{ q = Flatten(g) }}, else_branch =
        e () => (float[C] z) {{ z = Squeeze(g) }}> }}""",
    "a constant condition": f"""net ({IMAGE}, float[8,8,1,1] w2) => (float[1,8,14,14] y)
        {{ c = Conv(x, w1, b1) d = If (go) <then_branch = p () => (float[1,8,14,14] q)
        {{ q = Relu(c) }}, else_branch = e () => (float[1,8,14,14] z) {{ z = Neg(c) }}>
        y = Conv(d, w2) }}""",
    "a sequence": f"""net ({IMAGE}, float[8,8,1,1] w2) => (float[1,8,14,14] y)
        {{ c = Conv(x, w1, b1) r = Relu(c) s = SequenceConstruct(r, c) d = SequenceAt(s, i0)
        y = Conv(d, w2) }}""",
    "a scan": f"""net ({IMAGE}) => (float[14,1,8,14] y) {{ c = Conv(x, w1, b1)
        t = Transpose<perm=[2,0,1,3]>(c) y = Scan <num_scan_inputs=1, body =
        b (float[1,8,14] v) => (float[1,8,14] o) {{ o = Relu(v) }}>(t) }}""",
    "a weight of unknown shape": f"""net ({IMAGE}, float[8,27] wf) => (float[A,B,C,D] y) {{
        a = Abs(x) m = ReduceMax<keepdims=0>(a) i = Cast<to=7>(m) z = Mul(i, i0)
        to4 = Add(shape4, z) w = Reshape(wf, to4) c = Conv(x, w) y = Relu(c) }}""",
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
    "i4": ("int64", 4),
    "trips": ("int64", 2),
    "go": ("bool", True),
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


def with_parameters(text: str, opset: int = 17) -> onnx.ModelProto:
    """Declares those of PARAMETERS that ``text`` reads."""
    words = set(re.findall(r"\w+", text))
    used = {name: PARAMETERS[name] for name in PARAMETERS if name in words}
    declared = "".join(f", {kind} {name}" for name, (kind, _) in used.items())
    place = text.index(")")
    given = {name: data for name, (_, data) in used.items()}
    return export(text[:place] + declared + text[place:], opset, **given)


def mobile_network() -> str:
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
