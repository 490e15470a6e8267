"""One small network as four exporters write it: PyTorch, tf2onnx, Paddle, Caffe.

Two convolutions that differ from style to style, a middle one that the trait decides about, a
residual, and a head: classes, or boxes with NonMaxSuppression. All read 16 × 16 pixels and have
eight channels of 8 × 8 in the middle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.e2e.exports import FOUND

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.dialect import Dialect

__all__ = ["STYLES", "WEIGHTS", "Draft", "Style", "Wish"]

WEIGHTS = {
    "w1": "float[8,3,3,3]",
    "w2": "float[8,8,3,3]",
    "w3": "float[8,8,3,3]",
    "w4": "float[8,10]",
    "w4t": "float[10,8]",
    "wd": "float[8,1,3,3]",
    "wr": "float[4,8,1,1]",
    "wx": "float[8,4,1,1]",
    "w6": "float[6,8,1,1]",
    "wb": "float[4,8,1,1]",
    "wc": "float[2,8,1,1]",
    **{f"b{n}": "float[8]" for n in (1, 2, 3)},
    "b4": "float[10]",
    "b6": "float[6]",
    **{name: "float[8]" for n in (1, 2) for name in (f"s{n}", f"h{n}", f"m{n}", f"sv{n}")},
    "sc": "float[1,8,1,1]",
    "hc": "float[1,8,1,1]",
    "sp": "float[8,1,1]",
}


class Wish(NamedTuple):
    """What a trait asks of a style.

    Attributes:
        middle: (result, operand) → statements of the middle layer.
        boxes: Whether the head finds boxes.
        joined: Whether there is a second input.
    """

    middle: Callable[[str, str], str]
    boxes: bool = False
    joined: bool = False


class Draft(NamedTuple):
    """A network as text.

    Attributes:
        nodes: Statements.
        outputs: Name → shape.
        feature: Name and shape of a value in the middle.
        second: Shape of the second input, x2.
    """

    nodes: str
    outputs: dict[str, str]
    feature: tuple[str, str]
    second: str


class Style(NamedTuple):
    """How an exporter writes.

    Attributes:
        write: Writes the network.
        image: Order of the input's axes.
        value: Format of a value's name.
        node: Format of a node's name, of operator and number.
    """

    write: Callable[[Dialect, Wish], Draft]
    image: str
    value: str
    node: str


def _norm(y: str, x: str, n: int) -> str:
    return f"{y} = BatchNormalization({x}, s{n}, h{n}, m{n}, sv{n})"


def _suppress(d: Dialect, boxes: str, scores: str) -> str:
    limits = f"{d.ints(5)}, {d.real(0.5)}, {d.real(0.3)}"
    return f"y = NonMaxSuppression({boxes}, {scores}, {limits})"


def _pytorch(d: Dialect, wish: Wish) -> Draft:
    """SiLU as Sigmoid and Mul, Resize, views by Shape-Gather-Unsqueeze-Concat, Gemm transposed."""
    nodes = f"""c1 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1) {_norm("n1", "c1", 1)}
        r1 = Relu(n1) c2 = Conv<pads=[1,1,1,1]>(r1, w2, b2) q2 = Sigmoid(c2) a2 = Mul(c2, q2)
        p1 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r1) {d.double("up", "p1")}
        {wish.middle("c3", "a2")} """
    if wish.joined:
        nodes += f"{d.unsqueeze('x3', 'x2', 2, 3)} j3 = Mul(c3, x3) e3 = Add(j3, up) "
    else:
        nodes += "e3 = Add(c3, up) "
    nodes += "r3 = Relu(e3) "
    outputs = {"y": "float[N,10]"}
    if wish.boxes:
        outputs = {"y": f"int64[{FOUND},3]", "scores": "float[N,2,L]"}
        nodes += f"""o = Conv(r3, w6, b6) f = Reshape(o, {d.ints(0, 6, -1)})
            t = Transpose<perm=[0,2,1]>(f) {d.split(["xy", "wh", "cl"], "t", 2, 2, 2, 2)}
            e = Exp(wh) ha = Div(e, {d.real(2.0)}) lo = Sub(xy, ha) hi = Add(xy, ha)
            boxes = Concat<axis=2>(lo, hi) p = Sigmoid(cl)
            scores = Transpose<perm=[0,2,1]>(p) {_suppress(d, "boxes", "scores")}"""
    else:
        nodes += f"""g = GlobalAveragePool(r3) sh = Shape(g) n = Gather(sh, {d.integer(0)})
            {d.unsqueeze("u", "n", 0)} to = Concat<axis=0>(u, {d.ints(-1)}) f = Reshape(g, to)
            y = Gemm<transB=1>(f, w4t, b4)"""
    return Draft(nodes, outputs, ("r3", "float[N,8,A,B]"), "float[N,8]")


def _tensorflow(d: Dialect, wish: Wish) -> Draft:
    """Channels last outside, padding spelled out, pairs of Transpose, pooling by ReduceMean."""
    nodes = f"""t0 = Transpose<perm=[0,3,1,2]>(x) {d.pad("p0", "t0", 0, 0, 0, 0, 0, 0, 1, 1)}
        c1 = Conv<strides=[2,2], kernel_shape=[3,3]>(p0, w1) i1 = Add(c1, hc)
        {d.clip("k1", "i1", 0.0, 6.0)} t1 = Transpose<perm=[0,2,3,1]>(k1)
        t2 = Transpose<perm=[0,3,1,2]>(t1)
        c2 = Conv<auto_pad="SAME_UPPER", group=8>(t2, wd) {_norm("n2", "c2", 2)}
        {d.clip("r2", "n2", 0.0, 6.0)} {wish.middle("c3", "r2")} """
    if wish.joined:
        nodes += "x3 = Transpose<perm=[0,3,1,2]>(x2) j3 = Mul(c3, x3) e3 = Add(j3, t2) "
    else:
        nodes += "e3 = Add(c3, t2) "
    outputs = {"y": "float[N,10]"}
    if wish.boxes:
        outputs = {"y": f"float[{FOUND},4]", "scores": "float[N,2,L]"}
        suppress = _suppress(d, "boxes", "scores").replace("y =", "at =")
        nodes += f"""o = Conv(e3, w6, b6) t = Transpose<perm=[0,2,3,1]>(o)
            f = Reshape(t, {d.ints(0, -1, 6)}) {d.slice("boxes", "f", 2, 0, 4)}
            {d.slice("cl", "f", 2, 4, 6)} p = Sigmoid(cl) scores = Transpose<perm=[0,2,1]>(p)
            {suppress} {d.slice("a1", "at", 1, 2, 3)} {d.squeeze("a2", "a1", 1)}
            a3 = Cast<to=6>(a2) {d.squeeze("rows", "boxes", 0)} y = Gather(rows, a3)"""
    else:
        nodes += f"""t3 = Transpose<perm=[0,2,3,1]>(e3)
            {d.reduce("m", "ReduceMean", "t3", 1, 2, keepdims=1)} {d.squeeze("q", "m", 1, 2)}
            v = MatMul(q, w4) l = Add(v, b4) y = Softmax<axis=1>(l)"""
    return Draft(nodes, outputs, ("e3", "float[N,8,A,B]"), "float[N,1,1,8]")


def _paddle(d: Dialect, wish: Wish) -> Draft:
    """Scale as Mul and Add, HardSwish, squeeze and excite, constant views, Softmax at the end."""
    nodes = f"""m0 = Mul(x, {d.real(0.5)}) a0 = Add(m0, {d.real(0.1)})
        c1 = Conv<pads=[1,1,1,1], strides=[2,2], dilations=[1,1], group=1>(a0, w1)
        {_norm("n1", "c1", 1)} {d.hard_swish("r1", "n1")}
        c2 = Conv<pads=[1,1,1,1], group=8>(r1, wd) {_norm("n2", "c2", 2)}
        {d.hard_swish("r2", "n2")} g2 = GlobalAveragePool(r2) d2 = Conv(g2, wr) rr = Relu(d2)
        u2 = Conv(rr, wx) q2 = HardSigmoid<alpha=0.16666667, beta=0.5>(u2) z2 = Mul(r2, q2)
        {wish.middle("c3", "z2")} """
    if wish.joined:
        nodes += f"x3 = Reshape(x2, {d.ints(0, 8, 1, 1)}) j3 = Add(c3, x3) e3 = Add(r1, j3) "
    else:
        nodes += "e3 = Add(r1, c3) "
    outputs = {"y": "float[N,10]"}
    if wish.boxes:
        outputs = {"y": f"float[{FOUND},5]", "scores": "float[N,2,L]"}
        suppress = _suppress(d, "boxes", "scores").replace("y =", "at =")
        nodes += f"""o = Conv(e3, wb) f = Reshape(o, {d.ints(0, 4, -1)})
            boxes = Transpose<perm=[0,2,1]>(f) l = Conv(e3, wc) p = Sigmoid(l)
            scores = Reshape(p, {d.ints(0, 2, -1)}) {suppress}
            {d.split(["im", "cl", "bx"], "at", 1, 1, 1, 1)} clf = Cast<to=1>(cl)
            {d.squeeze("at1", "bx", 1)} rows = Reshape(boxes, {d.ints(-1, 4)})
            bb = Gather<axis=0>(rows, at1) y = Concat<axis=1>(clf, bb)"""
    else:
        nodes += f"""g = GlobalAveragePool(e3) f = Reshape(g, {d.ints(0, 8)}) v = MatMul(f, w4)
            l = Add(v, b4) y = Softmax<axis=-1>(l)"""
    return Draft(nodes, outputs, ("e3", "float[N,8,A,B]"), "float[N,8]")


def _caffe(d: Dialect, wish: Wish) -> Draft:
    """BatchNorm and Scale as layers of their own, Eltwise, ceiled pools, LRN, Dropout."""
    nodes = f"""c1 = Conv<kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]>(x, w1, b1)
        {_norm("n1", "c1", 1)} z1 = Mul(n1, sc) i1 = Add(z1, hc) r1 = Relu(i1) """
    if wish.joined:
        nodes += "cx = Conv<pads=[1,1,1,1]>(x2, w1, b1) rx = Relu(cx) rj = Max(r1, rx) "
    nodes += f"""{d.ceil_pool("p1", "rj" if wish.joined else "r1")}
        l1 = LRN<size=5, alpha=0.0001, beta=0.75>(p1) c2 = Conv<pads=[1,1,1,1]>(l1, w2, b2)
        r2 = PRelu(c2, sp) {wish.middle("c3", "r2")} e3 = Sum(c3, p1, r2) r3 = Relu(e3) """
    outputs = {"y": "float[N,10]"}
    if wish.boxes:
        outputs = {"y": f"int64[{FOUND},3]", "scores": "float[N,2,L]"}
        nodes += f"""lo = Conv(r3, wb) lt = Transpose<perm=[0,2,3,1]>(lo) lf = Flatten(lt)
            boxes = Reshape(lf, {d.ints(1, -1, 4)}) co = Conv(r3, wc)
            ct = Transpose<perm=[0,2,3,1]>(co) cf = Flatten(ct)
            cr = Reshape(cf, {d.ints(1, -1, 2)}) p = Softmax<axis=2>(cr)
            scores = Transpose<perm=[0,2,1]>(p) {_suppress(d, "boxes", "scores")}"""
    else:
        nodes += f"""{d.dropout("dr", "r3")} g = GlobalAveragePool(dr) f = Flatten(g)
            v = Gemm(f, w4, b4) y = Softmax<axis=1>(v)"""
    return Draft(nodes, outputs, ("r3", "float[N,8,A,B]"), "float[N,3,H,W]")


STYLES = {
    "pytorch": Style(_pytorch, "N,3,H,W", "/features/{}_output_0", "/features/{}_{}"),
    "tensorflow": Style(_tensorflow, "N,H,W,3", "model/{}/{}:0", "model/{}__{}"),
    "paddle": Style(_paddle, "N,3,H,W", "p2o.{}.tmp_0", "p2o.{}.{}"),
    "caffe": Style(_caffe, "N,3,H,W", "{}", ""),
}
