from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.manager import PassManager
from onnxq.passes.rewrite import float_rewrites
from onnxq.passes.rewrite.move_transposes import MoveTransposesPass
from onnxq.runtime.session import run_model
from tests.passes.rewrite.building import build, ops, rewritten, rng_weight
from tests.support import feeds_for

if TYPE_CHECKING:
    import numpy.typing as npt

_CHW = "Transpose<perm=[0,3,1,2]>"
_HWC = "Transpose<perm=[0,2,3,1]>"


def _between_convolutions(body: str, **weights: npt.ArrayLike) -> ir.Model:
    """Conv → NHWC value a → ``body``, which computes b → NCHW → Conv."""
    listed = "".join(
        f", {'float' if np.asarray(w).dtype.kind == 'f' else 'int64'}"
        f"[{','.join(map(str, np.shape(w)))}] {name}"
        for name, w in weights.items()
    )
    text = f"""f (float[2,4,6,7] x, float[4,4,3,3] w{listed}) => (y) {{
        c = Conv(x, w)
        a = {_HWC}(c)
        {body}
        d = {_CHW}(b)
        y = Conv(d, w) }}"""
    return build(text.replace("[] ", " "), w=rng_weight(4, 4, 3, 3), **weights)


@pytest.mark.parametrize(
    "body",
    [
        "b = Relu(a)",
        "b = Add(a, k)",
        "r = Sigmoid(a)\n b = Mul(a, r)",
        "b = Pad(a, p)",
        "r = Neg(a)\n v = Concat<axis=3>(a, r)\n b = Slice(v, zero, four, three)",
        "r, s = Split<axis=3, num_outputs=2>(a)\n b = Concat<axis=-1>(s, r)",
        "r = ReduceMean(a, h)\n q = Mul(r, k)\n b = Sub(a, q)",
        "b = LeakyRelu(a)",
    ],
    ids=["relu", "bias", "silu", "pad", "concat", "split", "squeeze_excite", "leaky"],
)
def test_rule_1_nothing_stays_between_convolutions(body: str) -> None:
    source = _between_convolutions(
        body,
        k=rng_weight(4),
        p=np.array([0, 1, 1, 0, 0, 1, 1, 0]),
        h=np.array([1, 2]),
        zero=np.array([0]),
        four=np.array([4]),
        three=np.array([3]),
    )
    assert "Transpose" not in rewritten(MoveTransposesPass(), source).ops


def test_rule_1_a_residual_connection() -> None:
    source = build(
        f"""f (float[2,4,6,7] x, float[4,4,1,1] w, float[4] k) => (y) {{
            c = Conv(x, w)
            a = {_HWC}(c)
            r = Relu(a)
            d = {_CHW}(r)
            e = Conv(d, w)
            g = {_HWC}(e)
            h = Add(g, k)
            s = Add(r, h)
            t = {_CHW}(s)
            y = Conv(t, w) }}""",
        w=rng_weight(4, 4, 1, 1),
        k=rng_weight(4),
    )
    assert rewritten(MoveTransposesPass(), source).ops == [
        "Conv", "Relu", "Conv", "Add", "Add", "Conv",
    ]  # fmt: skip


def test_rule_1_the_smaller_value_is_transposed() -> None:
    source = build(
        """f (float[2,8,6,7] x, int64[1] l, int64[1] h, int64[1] a) => (float[2,2,7,6] y) {
            n = Transpose<perm=[0,3,2,1]>(x)
            s = Slice(n, l, h, a)
            y = Transpose<perm=[0,3,1,2]>(s) }""",
        l=np.array([0]),
        h=np.array([2]),
        a=np.array([3]),
    )
    assert rewritten(MoveTransposesPass(), source).ops == ["Slice", "Transpose"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"a = Conv(x, w)\n b = {_HWC}(a)\n c = Relu(b)\n y = MatMul(c, m)",
         ["Conv", "Relu", "Transpose", "MatMul"]),
        (f"a = Transpose(x)\n b = Transpose(a)\n c = Mul(b, m)\n d = {_CHW}(c)\n y = Conv(d, w)",
         ["Transpose", "Mul", "Conv"]),
    ],
    ids=["behind", "in_front"],
)  # fmt: skip
def test_rule_1_what_can_be_merged_becomes_neighbours(body: str, expected: list[str]) -> None:
    source = build(
        f"f (float[2,4,4,4] x, float[4,4,1,1] w, float[4,4] m) => (y) {{ {body} }}",
        w=rng_weight(4, 4, 1, 1),
        m=rng_weight(4, 4),
    )
    assert rewritten(MoveTransposesPass(), source).ops == expected


def test_rule_1_softmax_stays_along_the_last_axis() -> None:
    source = build(
        f"""f (float[2,4,6,7] x, float[4,4,1,1] w) => (y) {{
            c = Conv(x, w)
            a = {_HWC}(c)
            s = Softmax(a)
            d = {_CHW}(s)
            y = Conv(d, w) }}""",
        w=rng_weight(4, 4, 1, 1),
    )
    outcome = rewritten(MoveTransposesPass(), source)
    assert not outcome.modified
    assert len(outcome.reasons) == 2


def test_rule_2_transposes_in_a_row_become_one() -> None:
    source = build(
        f"""f (float[2,4,6,7] x) => (y) {{
            a = {_HWC}(x)
            b = {_HWC}(a)
            y = Relu(b) }}"""
    )
    assert rewritten(MoveTransposesPass(), source).ops.count("Transpose") == 1


def test_rule_2_equal_transposes_become_one() -> None:
    source = build(
        f"""f (float[2,4,6,7] x) => (y, z) {{
            a = {_HWC}(x)
            b = {_HWC}(x)
            y = Flatten(a)
            z = Flatten<axis=2>(b) }}"""
    )
    assert rewritten(MoveTransposesPass(), source).ops == ["Transpose", "Flatten", "Flatten"]


def test_rule_3_only_axes_of_size_1_move() -> None:
    source = build(
        f"""f (float[N,4,6,7] x) => (y) {{
            g = GlobalAveragePool(x)
            a = {_HWC}(g)
            y = Flatten(a) }}"""
    )
    assert rewritten(MoveTransposesPass(), source).ops == [
        "GlobalAveragePool",
        "Reshape",
        "Flatten",
    ]


def test_rule_3_a_reshape_that_moves_ones_is_seen_through() -> None:
    """Squeeze and excite as converters write it, with Reshape for the squeezed value."""
    source = build(
        f"""f (float[2,4,6,7] x, float[4,4,1,1] w, int64[4] s) => (y) {{
            c = Conv(x, w)
            a = {_HWC}(c)
            g = GlobalAveragePool(c)
            e = Conv(g, w)
            r = Reshape(e, s)
            h = Sigmoid(r)
            m = Mul(a, h)
            d = {_CHW}(m)
            y = Conv(d, w) }}""",
        w=rng_weight(4, 4, 1, 1),
        s=np.array([2, 1, 1, 4]),
    )
    assert rewritten(MoveTransposesPass(), source).ops == [
        "Conv", "GlobalAveragePool", "Conv", "Sigmoid", "Mul", "Conv",
    ]  # fmt: skip


def test_rule_4_constants_are_transposed() -> None:
    source = build(
        f"""f (float[2,3,3,4] x, float[2,4,3,3] k) => (y) {{
            c = {_HWC}(k)
            f = Flatten(c)
            g = Flatten(x)
            y = Sub(f, g) }}""",
        k=rng_weight(2, 4, 3, 3),
    )
    assert "Transpose" not in rewritten(MoveTransposesPass(), source).ops


@pytest.mark.parametrize(
    "body",
    [
        f"c = {_HWC}(x)\n y = Relu(c)",
        f"y = {_HWC}(x)\n z = Relu(y)",
        f"y = Relu(x)\n z = {_HWC}(y)",
        f"c = {_HWC}(x)\n y = Relu(c)\n d = {_CHW}(y)\n z = Conv(d, w)",
    ],
    ids=["one", "transposed", "before", "inside"],
)
def test_rule_5_outputs_keep_their_order(body: str) -> None:
    outputs = "y, z" if "z =" in body else "y"
    source = build(
        f"f (float[2,4,6,7] x, float[4,4,1,1] w) => ({outputs}) {{ {body} }}",
        w=rng_weight(4, 4, 1, 1),
    )
    outcome = rewritten(MoveTransposesPass(), source)
    assert outcome.ops.count("Transpose") == 1


def test_rule_5_an_input_that_is_returned() -> None:
    source = build(
        f"""f (float[2,4,6,7] x) => (float[2,4,6,7] y) {{
            a = {_HWC}(x)
            y = {_CHW}(a) }}"""
    )
    assert rewritten(MoveTransposesPass(), source).ops == ["Identity"]


def test_rule_5_a_value_that_is_returned_in_both_orders() -> None:
    source = build(
        f"""f (float[2,4,6,7] x) => (float[2,4,6,7] y, float[2,4,6,7] z, u) {{
            y = Relu(x)
            a = {_HWC}(y)
            u = Neg(a)
            z = {_CHW}(a) }}"""
    )
    outcome = rewritten(MoveTransposesPass(), source)
    assert sorted(outcome.ops) == ["Identity", "Neg", "Relu", "Transpose"]


def test_rule_5_what_a_subgraph_reads_stays() -> None:
    source = build(
        f"""f (float[2,4,6,7] x, bool c, float[4,4,1,1] w) => (y, z) {{
            a = {_HWC}(x)
            r = Relu(a)
            d = {_CHW}(r)
            y = Conv(d, w)
            z = If (c) <
                then_branch = g () => (t) {{ t = Flatten(r) }},
                else_branch = h () => (e) {{ e = Flatten<axis=2>(r) }}
            > }}""",
        w=rng_weight(4, 4, 1, 1),
    )
    feeds = {"x": rng_weight(2, 4, 6, 7), "c": np.array(True)}
    outcome = rewritten(MoveTransposesPass(), source, feeds)
    assert outcome.ops.count("Transpose") == 1


def test_rule_6_names_keep_their_meaning() -> None:
    source = build(
        f"""f (float[2,4,6,7] x, float[4,4,1,1] w) => (y, z) {{
            c = Conv(x, w)
            a = {_HWC}(c)
            r = Relu(a)
            d = {_CHW}(r)
            y = Conv(d, w)
            z = Flatten(r) }}""",
        w=rng_weight(4, 4, 1, 1),
    )
    feeds = feeds_for(source)
    before = run_model(source.clone(), feeds, ["r", "d"])
    rewritten(MoveTransposesPass(), source)
    shapes = {value.name: value.shape for node in source.graph for value in node.outputs}
    assert "r_transposed" in shapes
    np.testing.assert_array_equal(run_model(source, feeds, ["r"])["r"], before["r"])


def test_transposes_that_contradict_each_other_stay() -> None:
    source = build(
        """f (float[3,3] x) => (y) {
            t = Transpose(x)
            y = Add(x, t) }"""
    )
    assert not rewritten(MoveTransposesPass(), source).modified


@pytest.mark.parametrize("shape", ["float[N,4,H,W]", "float[N,4,6,6]"])
def test_unknown_sizes(shape: str) -> None:
    source = build(
        f"""f ({shape} x, float[4,4,1,1] w, float[4] k) => (y) {{
            c = Conv(x, w)
            a = {_HWC}(c)
            b = Add(a, k)
            d = {_CHW}(b)
            y = Conv(d, w) }}""",
        w=rng_weight(4, 4, 1, 1),
        k=rng_weight(4),
    )
    assert rewritten(MoveTransposesPass(), source).ops == ["Conv", "Add", "Conv"]


def test_sizes_that_are_known_on_one_side_alone_change_nothing() -> None:
    """What a loop gives may have no sizes, while an output of the graph states all of them."""
    source = build(f"f (float[2,4,6,6] x) => (float[2,6,6,4] y) {{ r = Exp(x) y = {_HWC}(r) }}")
    assert source.graph[1].outputs[0].shape == ir.Shape([2, 6, 6, 4])
    source.graph[0].outputs[0].shape = ir.Shape(["a", "b", "c", "d"])
    source.graph.inputs[0].shape = ir.Shape(["a", "b", "c", "d"])
    feeds = {"x": np.ones((2, 4, 6, 6), np.float32)}
    assert not rewritten(MoveTransposesPass(), source, feeds).modified


def test_an_unknown_rank_stays() -> None:
    source = build(
        f"""f (float[2,4,6,6] x, float[4,4,1,1] w) => (y) {{
            a = {_HWC}(x)
            b = Relu(a)
            d = {_CHW}(b)
            y = Conv(d, w) }}""",
        w=rng_weight(4, 4, 1, 1),
    )
    for value in (source.graph[0].outputs[0], source.graph[1].outputs[0]):
        value.shape = None
    assert not rewritten(MoveTransposesPass(), source).modified


def test_a_network_in_tensorflows_layout() -> None:
    """Image in NHWC, Pad, bias and Relu6 in NHWC, the mean over places, and a box head."""
    source = build(
        f"""f (float[1,9,9,3] image, int64[8] p, float[4,3,3,3] w, float[4] k, float zero,
            float six, float[4,1,3,3] u, int64[2] h, float[4,5] m, int64[3] s) => (y, z) {{
            a = Pad(image, p)
            b = {_CHW}(a)
            c = Conv<strides=[2,2]>(b, w)
            d = {_HWC}(c)
            e = Add(d, k)
            g = Clip(e, zero, six)
            i = {_CHW}(g)
            j = Conv<group=4, pads=[1,1,1,1]>(i, u)
            l = {_HWC}(j)
            n = Add(l, g)
            o = ReduceMean<keepdims=0>(n, h)
            y = MatMul(o, m)
            z = Reshape(n, s) }}""",
        p=np.array([0, 0, 0, 0, 0, 1, 1, 0]),
        w=rng_weight(4, 3, 3, 3),
        k=rng_weight(4),
        zero=0.0,
        six=6.0,
        u=rng_weight(4, 1, 3, 3),
        h=np.array([1, 2]),
        m=rng_weight(4, 5),
        s=np.array([1, -1, 4]),
    )
    manager = PassManager(check=True, run_model=run_model, probes=[feeds_for(source)])
    after = manager.rewrite(source, float_rewrites({}), to_fixpoint=True)
    assert not manager.trace.rolled_back
    assert ops(after).count("Transpose") == 2
    assert not {"Pad", "ReduceMean"} & set(ops(after))


_STEPS = st.tuples(st.integers(0, 7), st.integers(0, 99), st.permutations(range(4)))


@settings(max_examples=60, deadline=None)
@given(st.lists(_STEPS, min_size=3, max_size=14), st.integers(0, 3))
def test_any_graph_keeps_its_function_and_gets_no_more_transposes(
    steps: list[tuple[int, int, list[int]]], outputs: int
) -> None:
    """Values of every order of axes, each read by several nodes, and up to four outputs."""
    shapes: dict[str, tuple[int, ...]] = {"x": (1, 2, 3, 4)}
    lines = []
    for number, (kind, pick, order) in enumerate(steps):
        a = list(shapes)[pick % len(shapes)]
        shape = shapes[a]
        alike = [name for name, other in shapes.items() if other == shape]
        b = alike[(pick // 7) % len(alike)]
        axis = pick % 4
        new = f"v{number}"
        body, result = {
            0: (f"Relu({a})", shape),
            1: (f"Add({a}, {b})", shape),
            2: (f"Softmax<axis={axis}>({a})", shape),
            3: (f"Mul({a}, k{shape[3]})", shape),
            4: (
                f"Concat<axis={axis}>({a}, {b})",
                tuple(d * (2 if i == axis else 1) for i, d in enumerate(shape)),
            ),
        }.get(
            kind,
            (f"Transpose<perm={list(order)}>({a})", tuple(shape[i] for i in order)),
        )
        if kind == 3 and shape[3] > 4:
            body = f"Neg({a})"
        shapes[new] = result
        lines.append(f"{new} = {body}")
    chosen = list(shapes)[-1 - outputs :]
    chosen = [name for name in chosen if name != "x"]
    text = f"""f (float[1,2,3,4] x, float k1, float[2] k2, float[3] k3, float[4] k4)
        => ({", ".join(chosen)}) {{ {chr(10).join(lines)} }}"""
    source = build(text, k1=1.5, k2=rng_weight(2), k3=rng_weight(3), k4=rng_weight(4))
    before = ops(source).count("Transpose")
    assert rewritten(MoveTransposesPass(), source).ops.count("Transpose") <= before
