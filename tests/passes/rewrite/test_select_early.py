from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.rewrite.select_early import SelectEarlyPass
from tests.passes.rewrite.building import build, rewritten, rng_weight

_MLP = """
    h = MatMul(x, w)
    b = Add(h, c)
    g = Gelu(b)
    m = MatMul(g, v)
    r = Add(x, m)
    n = LayerNormalization(r, s)"""
_WEIGHTS = {
    "w": rng_weight(4, 6),
    "c": rng_weight(6, seed=1),
    "v": rng_weight(6, 4, seed=2),
    "s": rng_weight(4, seed=3),
}
_HEAD = "float[N,5,4] x, float w, float c, float v, float s"


def _shapes(model: object) -> dict[str, str]:
    return {n.op_type: str(n.outputs[0].shape) for n in model.graph}  # type: ignore[attr-defined]


def test_a_block_is_computed_for_the_row_that_is_read() -> None:
    graph = build(
        f"f ({_HEAD}, int64 zero) => (float[N,4] y) {{{_MLP}\n y = Gather<axis=1>(n, zero) }}",
        zero=np.array(0),
        **_WEIGHTS,
    )
    outcome = rewritten(SelectEarlyPass(), graph)
    assert outcome.ops == [
        "Gather", "MatMul", "Add", "Gelu", "MatMul", "Add", "LayerNormalization", "Squeeze"
    ]  # fmt: skip
    assert _shapes(graph)["Gelu"] == "[N,1,6]"


def test_several_rows_stay_several() -> None:
    graph = build(
        f"f ({_HEAD}, int64[2] i) => (float[N,2,4] y) {{{_MLP}\n y = Gather<axis=1>(n, i) }}",
        i=np.array([3, -5]),
        **_WEIGHTS,
    )
    outcome = rewritten(SelectEarlyPass(), graph)
    assert outcome.ops[0] == "Gather"
    assert outcome.ops[-1] == "LayerNormalization"
    assert _shapes(graph)["MatMul"] == "[N,2,4]"


def test_an_unknown_number_of_rows() -> None:
    head = _HEAD.replace("[N,5,4]", "[N,T,4]")
    graph = build(
        f"f ({head}, int64 zero) => (float[N,4] y) {{{_MLP}\n y = Gather<axis=1>(n, zero) }}",
        zero=np.array(0),
        **_WEIGHTS,
    )
    assert rewritten(SelectEarlyPass(), graph).modified


@pytest.mark.parametrize(("index", "fires"), [(0, True), (1, False)])
def test_an_operand_that_may_be_repeated_has_a_first_row(index: int, fires: bool) -> None:
    graph = build(
        """f (float[N,T,4] x, float[N,U,6] b, float w, int64 i) => (float[N,6] y) {
            h = MatMul(x, w)
            a = Add(h, b)
            y = Gather<axis=1>(a, i) }""",
        w=rng_weight(4, 6),
        i=np.array(index),
    )
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.normal(size=(2, 3, 4)).astype(np.float32),
        "b": rng.normal(size=(2, 1, 6)).astype(np.float32),
    }
    assert rewritten(SelectEarlyPass(), graph, feeds).modified == fires


def test_attention_asks_for_one_row_only() -> None:
    """Transpose, Softmax and the products of activations pass the row on to the query."""
    graph = build(
        """f (float[N,2,5,4] q, float[N,2,4,5] k, float[N,2,5,4] v, float w, int64[3] t, int64 zero)
            => (float[N,6] y) {
            a = MatMul(q, k)
            p = Softmax(a)
            m = MatMul(p, v)
            u = Transpose<perm=[0,2,1,3]>(m)
            r = Reshape(u, t)
            o = MatMul(r, w)
            y = Gather<axis=1>(o, zero) }""",
        w=rng_weight(8, 6),
        t=np.array([0, 5, 8]),
        zero=np.array(0),
    )
    outcome = rewritten(SelectEarlyPass(), graph)
    assert outcome.ops == [
        "Gather", "MatMul", "Softmax", "MatMul", "Transpose", "Reshape", "MatMul", "Squeeze"
    ]  # fmt: skip
    assert graph.graph[0].inputs[0].name == "q"  # type: ignore[union-attr]
    assert _shapes(graph)["Softmax"] == "[N,2,1,5]"


def test_a_reshape_that_infers_its_rows_keeps_its_shape() -> None:
    graph = build(
        """f (float[N,5,2,4] x, float w, int64[3] t, int64 zero) => (float[N,6] y) {
            r = Reshape(x, t)
            o = MatMul(r, w)
            y = Gather<axis=1>(o, zero) }""",
        w=rng_weight(8, 6),
        t=np.array([0, -1, 8]),
        zero=np.array(0),
    )
    assert rewritten(SelectEarlyPass(), graph).ops == ["Gather", "Reshape", "MatMul", "Squeeze"]


def test_rule_4_constants_are_cut() -> None:
    graph = build(
        """f (float[N,5,4] x, float w, float p, int64 two) => (float[N,6] y) {
            h = MatMul(x, w)
            a = Add(h, p)
            y = Gather<axis=1>(a, two) }""",
        w=rng_weight(4, 6),
        p=rng_weight(1, 5, 6, seed=1),
        two=np.array(2),
    )
    assert rewritten(SelectEarlyPass(), graph).ops == ["Gather", "MatMul", "Add", "Squeeze"]
    add = graph.graph[2]
    assert add.inputs[1] is not None
    assert str(add.inputs[1].shape) == "[1,1,6]"


def test_what_has_another_meaning_has_another_name() -> None:
    graph = build(
        f"f ({_HEAD}, int64 zero) => (float[N,4] y) {{{_MLP}\n y = Gather<axis=1>(n, zero) }}",
        zero=np.array(0),
        **_WEIGHTS,
    )
    rewritten(SelectEarlyPass(), graph)
    names = {out.name for node in graph.graph for out in node.outputs}
    assert not names & {"h", "b", "g", "m", "r", "n"}


@pytest.mark.parametrize(
    ("extra", "outputs"),
    [("y = Gather<axis=1>(n, zero)", "float[N,4] y, float[N,5,4] m"),
     ("y = Gather<axis=1>(n, zero)\n z = Relu(m)", "float[N,4] y, float[N,5,4] z")],
    ids=["output", "reader"],
)  # fmt: skip
def test_rule_2_what_is_read_elsewhere_stays_whole(extra: str, outputs: str) -> None:
    graph = build(
        f"f ({_HEAD}, int64 zero) => ({outputs}) {{{_MLP}\n {extra} }}",
        zero=np.array(0),
        **_WEIGHTS,
    )
    outcome = rewritten(SelectEarlyPass(), graph)
    assert outcome.reasons == ["no matrix product in front of it whose other rows are unread"]


def test_rule_2_rows_of_two_axes_stay_whole() -> None:
    """The sum reads its operand's rows at axis 1 and, transposed, at axis 2."""
    graph = build(
        """f (float[N,5,4] x, float w, int64 zero) => (float[N,5] y) {
            h = MatMul(x, w)
            t = Transpose<perm=[0,2,1]>(h)
            a = Add(h, t)
            y = Gather<axis=1>(a, zero) }""",
        w=rng_weight(4, 5),
        zero=np.array(0),
    )
    assert not rewritten(SelectEarlyPass(), graph).modified


@pytest.mark.parametrize(
    ("indices", "shape"), [([0, 1, 2, 3, 4], "N,5,4"), ([4, 3, 2, 1, 0, 0], "N,6,4")], ids=str
)
def test_rule_1_as_many_rows_as_there_are_stay(indices: list[int], shape: str) -> None:
    graph = build(
        f"f ({_HEAD}, int64[I] i) => (float[{shape}] y) {{{_MLP}\n y = Gather<axis=1>(n, i) }}",
        i=np.array(indices),
        **_WEIGHTS,
    )
    assert rewritten(SelectEarlyPass(), graph).reasons == ["it does not pick a few of many rows"]


def test_rule_1_rows_that_are_fed_stay() -> None:
    graph = build(
        f"f ({_HEAD}, int64 i) => (float[N,4] y) {{{_MLP}\n y = Gather<axis=1>(n, i) }}",
        **_WEIGHTS,
    )
    assert not rewritten(SelectEarlyPass(), graph).modified


def test_rule_3_light_nodes_stay() -> None:
    graph = build(
        """f (float[N,5,4] x, int64 zero) => (float[N,4] y) {
            g = Gelu(x)
            y = Gather<axis=1>(g, zero) }""",
        zero=np.array(0),
    )
    assert not rewritten(SelectEarlyPass(), graph).modified
