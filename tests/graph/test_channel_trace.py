"""Which channels may change places, and that the function stays when all of them do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.graph.channel_permute import permute_channels
from onnxq.graph.channel_trace import trace_channels
from tests.passes.rewrite.building import build, rng_weight
from tests.passes.rewrite.stages import StageWriter
from tests.support import assert_same_function, feeds_for

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir


def turned(source: ir.Model) -> list[int]:
    """Lets all cells change places as far as they can; returns the sizes of the groups."""
    before, book = source.clone(), trace_channels(source.graph)
    sources = np.arange(book.cells.count)
    groups = book.cells.interchange().groups
    for group in groups:
        sources[group] = np.roll(group, 1, axis=0)
    permute_channels(book, sources)
    assert_same_function(before, source, feeds_for(before))
    return sorted(len(group) for group in groups)


def reasons(source: ir.Model) -> set[str]:
    return set(trace_channels(source.graph).cells.interchange().pinned.values())


def between(text: str, channels: int = 6, **weights: npt.ArrayLike) -> ir.Model:
    """Returns a convolution that writes 6 channels c, ``text``, and one that reads d."""
    kinds = {"i": "int64", "f": "float"}
    extra = "".join(
        f", {kinds[np.asarray(w).dtype.kind]}[{','.join(map(str, np.shape(w)))}] {n}"
        for n, w in weights.items()
    )
    return build(
        f"""f (float[2,4,6,6] x, float[2,6,6,6] same, float[6,4,3,3] w, float[6] b,
            float[3,{channels},1,1] v{extra}) => (float[2,3,H,W] y) {{
            c = Conv<pads=[1,1,1,1]>(x, w, b)
            {text}
            y = Conv(d, v) }}""",
        w=rng_weight(6, 4, 3, 3),
        b=rng_weight(6),
        v=rng_weight(3, channels, 1, 1, seed=1),
        **weights,
    )


@pytest.mark.parametrize(
    "text",
    [
        "d = Relu(c)",
        "d = Identity(c)",
        "d = MaxPool<kernel_shape=[2,2]>(c)",
        "d = GlobalAveragePool(c)",
        "e = Relu(c) d = Add(e, c)",
        "d = Mul(c, c)",
        "m = Constant<value_float=3.0>() d = Mul(c, m)",
        "d = Softmax<axis=1>(c)",
        "d = Softmax<axis=3>(c)",
        "t = Transpose<perm=[0,2,3,1]>(c) s = Softmax(t) d = Transpose<perm=[0,3,1,2]>(s)",
        """s = Constant<value_ints=[2,6,36]>() r = Reshape(c, s) q = Constant<value_ints=[3]>()
            d = Unsqueeze(r, q)""",
        "h, i = Split<axis=2, num_outputs=2>(c) d = Concat<axis=2>(i, h)",
        "g = GlobalAveragePool(x) q = ReduceMean(g) s = Sigmoid(q) d = Mul(c, s)",
        "q = Constant<value_ints=[1]>() m = ReduceMean(c, q) s = Sigmoid(m) d = Mul(c, s)",
        "a = Constant<value_ints=[2,3]>() d = ReduceMean(c, a)",
        "a = Constant<value_ints=[2,3]>() r = ReduceMean<keepdims=0>(c, a) d = Unsqueeze(r, a)",
        "s = Constant<value_ints=[0,1]>() d = Gather<axis=3>(c, s)",
        """z = Constant<value_ints=[0]>() o = Constant<value_ints=[3]>()
            a = Constant<value_ints=[2]>() d = Slice(c, z, o, a)""",
        "p = Constant<value_ints=[0,0,1,1,0,0,1,1]>() d = Pad(c, p)",
        "l = Shape(c) d = Relu(c)",
    ],
)
def test_all_channels_may_change_places(text: str) -> None:
    assert turned(between(text)) == [6]


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("d = PRelu(c, s)", {"s": rng_weight(6, 1, 1)}),
        ("d = Add(c, s)", {"s": rng_weight(1, 6, 1, 1)}),
        ("d = Add(s, c)", {"s": rng_weight(6, 6, 6)}),
        ("d = Mul(c, s)", {"s": rng_weight(6, 1)}),
        ("d = Conv<group=6>(c, s, t)", {"s": rng_weight(6, 1, 3, 3), "t": rng_weight(6)}),
        ("d = ConvTranspose(c, s)", {"s": rng_weight(6, 6, 2, 2)}),
        ("d = InstanceNormalization(c, s, t)", {"s": rng_weight(6), "t": rng_weight(6)}),
        ("d = LayerNormalization<axis=1>(c, s)", {"s": rng_weight(6, 6, 6)}),
        (
            "d = BatchNormalization(c, s, t, s, u)",
            {"s": rng_weight(6), "t": rng_weight(6), "u": np.abs(rng_weight(6, seed=3))},
        ),
        ("d = Concat<axis=2>(c, s)", {"s": rng_weight(2, 6, 1, 6)}),
        (
            "e = Expand(s, t) d = Add(c, e)",
            {"s": rng_weight(1, 6, 1, 1), "t": np.array([2, 6, 6, 6])},
        ),
    ],
)
def test_constants_go_with_the_channels(text: str, weights: dict[str, npt.ArrayLike]) -> None:
    assert 6 in turned(between(text, 6, **weights))


@pytest.mark.parametrize(
    ("text", "channels", "sizes"),
    [
        ("h, i = Split<axis=1, num_outputs=2>(c) d = Concat<axis=1>(i, h)", 6, [3, 3]),
        ("h, i = Split<axis=1, num_outputs=2>(c) e = Add(h, i) d = Concat<axis=1>(e, e)", 6, [3]),
        ("e = Relu(c) f = Concat<axis=1>(c, e) d = Mul(f, f)", 12, [6]),
        ("d = Gather<axis=1>(c, odd)", 3, [3, 3]),
        ("d = Gather<axis=1>(c, all)", 6, [6]),
        ("h = Gather<axis=1>(c, odd) d = Concat<axis=1>(h, c)", 9, [3, 3]),
        ("h = Slice(c, two, six, one) d = Concat<axis=1>(h, h)", 8, [2, 4]),
        ("r = Reshape(c, heads) t = Relu(r) d = Reshape(t, back)", 6, [6]),
        ("r = Reshape(c, heads) t = Softmax<axis=2>(r) d = Reshape(t, back)", 6, [3, 3]),
        ("r = Reshape(c, heads) t = Transpose<perm=[0,2,1,3,4]>(r) d = Reshape(t, back)", 6, [6]),
        ("d = Conv<group=2>(c, grouped)", 6, [3, 3, 3, 3]),
        ("d = Conv<group=6>(c, many)", 12, [6]),
    ],
)
def test_channels_stay_in_their_part(text: str, channels: int, sizes: list[int]) -> None:
    source = between(
        text,
        channels,
        one=np.array([1]),
        two=np.array([2]),
        six=np.array([6]),
        odd=np.array([1, 3, 5]),
        all=np.array([3, 1, 4, 0, 2, 5]),
        heads=np.array([2, 2, 3, 6, 6]),
        back=np.array([2, 6, 6, 6]),
        grouped=rng_weight(6, 3, 1, 1),
        many=rng_weight(12, 1, 1, 1),
    )
    assert turned(source) == sizes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("d = Add(c, same)", "keeps its order"),
        ("d = Add(c, same) e = Identity(d)", "keeps its order"),
        ("t = Transpose<perm=[0,2,1,3]>(c) d = Add(c, t)", "keeps its order"),
        ("d = Transpose<perm=[0,2,1,3]>(c)", "does not run over channels alone"),
        ("r = Reshape(c, mixed) d = Reshape(r, back)", "does not run over channels alone"),
        ("d = LRN<size=3>(c)", "by their place"),
        ("d = CumSum(c, one)", "by their place"),
        ("d = DepthToSpace<blocksize=1>(c)", "by their place"),
        ("q = GlobalAveragePool(c) d = Mul(same, q)", "keeps its order"),
        ("d = Conv(c, w6) e = Conv(same, w6)", "read by others"),
        ("e = Conv<group=6>(same, deep) d = Add(c, e)", "'same' keeps its order"),
    ],
)
def test_channels_that_keep_their_order_tell_why(text: str, reason: str) -> None:
    source = between(
        text,
        one=np.array(1),
        mixed=np.array([2, 3, 12, 6]),
        back=np.array([2, 6, 6, 6]),
        w6=rng_weight(6, 6, 1, 1),
        deep=rng_weight(6, 1, 1, 1),
    )
    assert turned(source) == []
    assert any(reason in text for text in reasons(source)), reasons(source)


def test_inputs_and_outputs_of_the_graph_keep_their_order() -> None:
    source = build(
        "f (float[1,4,3,3] x, float[6,4,1,1] w) => (float[1,6,3,3] y) { y = Conv(x, w) }",
        w=rng_weight(6, 4, 1, 1),
    )
    assert turned(source) == []
    assert reasons(source) == {"'y' is a graph output"}


def test_flatten_takes_all_positions_of_a_channel_along() -> None:
    source = build(
        """f (float[N,4,3,3] x, float[6,4,2,2] w, float[24,5] v, float[5] b) => (float[N,5] y) {
            c = Conv(x, w)  d = Flatten(c)  y = Gemm(d, v, b) }""",
        w=rng_weight(6, 4, 2, 2), v=rng_weight(24, 5), b=rng_weight(5),
    )  # fmt: skip
    assert turned(source) == [6]


def test_channels_last_are_taken_along_too() -> None:
    source = build(
        """f (float[N,4,3,3] x, float[6,4,2,2] w, int64[2] s, float[5,24] v) => (float[N,5] y) {
            c = Conv(x, w)  t = Transpose<perm=[0,2,3,1]>(c)  d = Reshape(t, s)
            y = Gemm<transB=1>(d, v) }""",
        w=rng_weight(6, 4, 2, 2), s=np.array([0, -1]), v=rng_weight(5, 24),
    )  # fmt: skip
    assert turned(source) == [6]


def attention(**changed: str) -> ir.Model:
    """Two heads of four channels over a residual stream of eight, between two other products."""
    parts = {"keys": "kt = Transpose<perm=[0,2,3,1]>(kr)", "norm": "LayerNormalization(e, g, h)"}
    parts |= changed
    return build(
        f"""f (float[N,5,3] x, float[3,8] we, float[8,8] wq, float[8,8] wk, float[8,8] wv,
            float[8] bq, float[8,8] wo, float[8] g, float[8] h, int64[4] split, int64[3] join,
            float[8,2] wy) => (float[N,5,2] y) {{
            e = MatMul(x, we)
            n = {parts["norm"]}
            q0 = MatMul(n, wq)  q = Add(q0, bq)  k = MatMul(n, wk)  v = MatMul(n, wv)
            qr = Reshape(q, split)  kr = Reshape(k, split)  vr = Reshape(v, split)
            qt = Transpose<perm=[0,2,1,3]>(qr)
            {parts["keys"]}
            vt = Transpose<perm=[0,2,1,3]>(vr)
            s = MatMul(qt, kt)  p = Softmax(s)  o = MatMul(p, vt)
            ot = Transpose<perm=[0,2,1,3]>(o)  oj = Reshape(ot, join)
            z = MatMul(oj, wo)  r = Add(e, z)  y = MatMul(r, wy) }}""",
        **{name: rng_weight(8, 8, seed=i) for i, name in enumerate(["wq", "wk", "wv", "wo"])},
        **{name: rng_weight(8, seed=i) for i, name in enumerate("gh")},
        we=rng_weight(3, 8),
        bq=rng_weight(8),
        wy=rng_weight(8, 2),
        split=np.array([0, 5, 2, 4]),
        join=np.array([0, 5, 8]),
    )


def test_attention_moves_queries_with_keys_and_values_with_the_projection_in_each_head() -> None:
    source = attention()
    book = trace_channels(source.graph)
    writes = {layer.node.outputs[0].name: layer.writes for layer in book.layers}
    groups = book.cells.interchange().groups
    heads = [set(writes["q0"][:4].tolist()), set(writes["k"][:4].tolist())]
    shared = [group for group in groups if heads[0] & set(group.flat)]
    assert len(shared) == 1
    assert heads[0] | heads[1] <= set(shared[0].flat)
    assert turned(source) == [4, 4, 4, 4, 8]


def test_heads_may_lie_in_each_others_gaps() -> None:
    """A head's channels are every second one of the keys."""
    keys = """gaps = Constant<value_ints=[0,5,4,2]>()
        ki = Reshape(k, gaps)  kt = Transpose<perm=[0,3,2,1]>(ki)"""
    assert turned(attention(keys=keys)) == [4, 4, 4, 4, 8]


def test_keys_in_a_fixed_order_keep_the_queries_in_place() -> None:
    keys = """last = Constant<value_int=3>()
        kc = CumSum(kr, last)  kt = Transpose<perm=[0,2,3,1]>(kc)"""
    assert turned(attention(keys=keys)) == [4, 4, 8]


def test_what_reads_the_stream_and_is_not_known_keeps_it_in_place() -> None:
    assert turned(attention(norm="LpNormalization(e)")) == [4, 4, 4, 4]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 13), st.integers(0, 99), st.integers(0, 99)), min_size=3))
def test_any_graph_computes_the_same(steps: list[tuple[int, int, int]]) -> None:
    writer = StageWriter(8, 2, "chunk")
    known = [(writer.conv("x", 3, 16), 16)]
    for kind, i, j in steps:
        _step(writer, known, kind, i % len(known), j)
    last, size = known[-1]
    other, channels = known[len(known) // 2]
    end = writer.join(writer.conv(last, size, 3), writer.conv(other, channels, 2))
    turned(writer.model(end, 3))


def _step(writer: StageWriter, known: list[tuple[str, int]], kind: int, i: int, j: int) -> None:
    """Appends one more value of 8, 16 or 24 channels, made from the values known so far."""
    x, channels = known[i]
    same = [name for name, size in known if size == channels]
    eights = [name for name, size in known if size == 8]
    unary = {
        0: f"Softmax<axis=1>({x})",
        1: f"HardSwish({x})",
        2: f"Transpose<perm=[0,1,3,2]>({x})",
        3: f"Add({x}, {same[j % len(same)]})",
        4: f"LRN<size=3>({x})",
        5: f"MaxPool<kernel_shape=[1,1]>({x})",
        6: f"Mul({x}, {same[j % len(same)]})",
    }
    if kind in unary:
        known.append((writer.add(unary[kind]), channels))
    elif kind == 7 and channels == 16:
        known.append((writer.shuffle(x, (2, 4)[j % 2]), 16))
    elif kind == 8 and channels == 16:
        known += [(name, 8) for name in writer.halves(x)]
    elif kind == 9 and eights:
        known.append((writer.join(eights[i % len(eights)], eights[j % len(eights)]), 16))
    elif kind in (10, 11):
        group = (channels, 4, 2)[j % 3]
        known.append((writer.conv(x, channels, channels, group, 3), channels))
    elif kind == 12:
        scale = writer.weight(f"m{len(writer.lines)}", rng_weight(channels, 1, 1, seed=j))
        known.append((writer.add(f"PRelu({x}, {scale})"), channels))
    else:
        size = (8, 16)[j % 2]
        known.append((writer.conv(x, channels, size), size))
