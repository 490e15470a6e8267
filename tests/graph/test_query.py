from __future__ import annotations

import pytest

from onnxq.graph import query
from tests.passes.rewrite.building import build, rng_weight
from tests.support import model

_BRANCHES = """f (float[2,3] x, float[3] k) => (float[2,3] y, float[2,3] z) {
    a = Relu(x)
    b = Add(a, k)
    c = Mul(a, a)
    y = Neg(b)
    z = Add(c, y) }"""

_CAPTURE = """f (bool c, float[2] x) => (float[2] y) {
    a = Relu(x)
    b = Neg(x)
    y = If(c) <
        then_branch = t () => (float[2] p) { p = Neg(a) },
        else_branch = e () => (float[2] q) {
            q = If(c) <
                then_branch = u () => (float[2] r) { r = Identity(b) },
                else_branch = v () => (float[2] s) { s = Identity(a) }
            >
        }
    > }"""


def test_weight_of_an_initializer_and_of_a_constant_node() -> None:
    graph = build(
        """f (float[3] x, float[3] k) => (float[3] y, float[3] z) {
            c = Constant<value_floats=[1.0, 2.0, 3.0]>()
            y = Add(x, k)
            z = Add(x, c) }""",
        k=rng_weight(3),
    ).graph
    initializer, constant = graph[1].inputs[1], graph[2].inputs[1]
    assert query.weight_of(initializer).tolist() == rng_weight(3).tolist()  # type: ignore[union-attr]
    assert query.weight_of(constant).tolist() == [1.0, 2.0, 3.0]  # type: ignore[union-attr]


def test_weight_of_is_none_for_what_is_fed_or_computed() -> None:
    source = build(_BRANCHES, k=rng_weight(3))
    weight = source.graph.initializers["k"]
    source.graph.inputs.append(weight)
    assert query.weight_of(weight) is None
    assert query.weight_of(source.graph.inputs[0]) is None
    assert query.weight_of(source.graph[0].outputs[0]) is None
    assert query.weight_of(None) is None


def test_scalar_of_takes_one_element_of_any_rank() -> None:
    graph = build(
        "f (float[1] x, float[1,1] k, float[2] l) => (float[1,1] y) { y = Sum(x, k, l) }",
        k=[[2.5]],
        l=[1.0, 2.0],
    ).graph
    assert query.scalar_of(graph.initializers["k"]) == 2.5
    assert query.scalar_of(graph.initializers["l"]) is None
    assert query.scalar_of(graph.inputs[0]) is None


def test_uses() -> None:
    graph = model(_BRANCHES).graph
    a, b, c, y = (graph[i].outputs[0] for i in range(4))
    assert query.only_use(a) is None
    assert query.only_use(b) == (graph[3], 0)
    assert query.only_use(y) is None
    assert query.is_graph_output(y)
    assert query.only_use(c) == (graph[4], 0)


def test_a_node_that_reads_twice_is_two_uses() -> None:
    graph = model("f (float[3] x) => (float[3] y) { a = Relu(x)\n y = Mul(a, a) }").graph
    assert query.only_use(graph[0].outputs[0]) is None


def test_shape_of_marks_what_is_unknown() -> None:
    graph = model("f (float[N,3] x) => (float[N,3] y) { a = Relu(x)\n y = Neg(a) }").graph
    assert query.shape_of(graph.inputs[0]) == (None, 3)
    assert query.shape_of(graph[0].outputs[0]) is None
    assert query.shape_of(None) is None


def test_heavy_needs_a_constant_weight() -> None:
    graph = build(
        """f (float[3,3] x, float[3,3] w) => (float[3,3] y) {
            a = MatMul(x, w)
            b = MatMul(x, a)
            y = Add(b, w) }""",
        w=rng_weight(3, 3),
    ).graph
    assert [query.heavy(node) for node in graph] == [True, False, False]


def test_descendants() -> None:
    graph = build(_BRANCHES).graph
    names = dict(zip("abcyz", graph, strict=True))
    assert query.descendants([names["b"].outputs[0]]) == {names["y"], names["z"]}
    assert query.descendants([graph.inputs[0]]) == set(graph)
    assert query.descendants([]) == set()


def test_captured_values_count_as_read() -> None:
    graph = build(_CAPTURE).graph
    relu, neg, branch = graph
    assert query.descendants([relu.outputs[0]]) == {branch}
    assert query.descendants([neg.outputs[0]]) == {branch}


@pytest.mark.parametrize(
    ("body", "weight", "expected"),
    [
        ("y = Conv<pads=[1,1,1,1]>(x, w)", (8, 4, 3, 3), 8 * 6 * 6 * 4 * 9),
        ("y = Conv<group=4, strides=[2,2]>(x, w)", (8, 1, 2, 2), 8 * 3 * 3 * 4),
        ("y = ConvTranspose<strides=[2,2]>(x, w)", (4, 5, 2, 2), 4 * 6 * 6 * 5 * 4),
        ("y = MatMul(x, w)", (6, 7), 4 * 6 * 6 * 7),
        ("y = Relu(x)\n z = Identity(w)", (1,), 0),
    ],
    ids=["conv", "grouped", "transpose", "matmul", "relu"],
)
def test_macs_of_a_dynamic_batch_count_one_sample(
    body: str, weight: tuple[int, ...], expected: int
) -> None:
    graph = build(
        f"f (float[N,4,6,6] x, float w) => (float[N,C,H,W] y) {{ {body} }}", w=rng_weight(*weight)
    ).graph
    shapes = {"y": [None, *(query.shape_of(graph[0].outputs[0]) or ())[1:]]}
    assert query.macs(graph[0], shapes) == expected


@pytest.mark.parametrize(("trans", "shape"), [(0, "2,3"), (1, "3,2")])
def test_macs_of_gemm(trans: int, shape: str) -> None:
    graph = build(
        f"f (float[{shape}] x, float w) => (float[2,5] y) {{ y = Gemm<transA={trans}>(x, w) }}",
        w=rng_weight(3, 5),
    ).graph
    assert query.macs(graph[0]) == 2 * 3 * 5


def test_macs_of_an_unknown_size() -> None:
    graph = build(
        "f (float[N,4,H,W] x, float w) => (float[N,8,H,W] y) { y = Conv(x, w) }",
        w=rng_weight(8, 4, 1, 1),
    ).graph
    assert query.macs(graph[0]) is None
    assert query.macs(graph[0], {"y": (2, 8, 10, 10)}) == 2 * 8 * 100 * 4
