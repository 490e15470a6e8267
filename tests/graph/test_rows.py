from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.rows import Carrier, carriers
from tests.passes.rewrite.building import build, rng_weight


@pytest.mark.parametrize(
    ("text", "axis", "expected"),
    [
        ("f (float[N,5,4] x) => (float[N,5,4] y) { y = Gelu(x) }", 1, [(0, 1)]),
        ("f (float[N,5,4] x, float[N,5,4] b) => (float[N,5,4] y) { y = Add(x, b) }", 1,
         [(0, 1), (1, 1)]),
        ("f (float[N,T,4] x, float[N,T,4] b) => (float[N,T,4] y) { y = Add(x, b) }", 1,
         [(0, 1), (1, 1)]),
        ("f (float[N,5,4] x, float[4] b) => (float[N,5,4] y) { y = Add(b, x) }", 1, [(1, 1)]),
        ("f (float[N,5,4] x, float[1,4] b) => (float[N,5,4] y) { y = Mul(x, b) }", 1, [(0, 1)]),
        ("f (float[N,5,4] x, float[5,4] b) => (float[N,5,4] y) { y = Sub(x, b) }", 1,
         [(0, 1), (1, 0)]),
        ("f (float[N,5,4] x) => (float[N,5,4] y) { y = Softmax(x) }", 1, [(0, 1)]),
        ("f (float[N,5,4] x) => (float[N,5,4] y) { y = Softmax<axis=1>(x) }", 1, None),
        ("f (float[N,5,4] x, float[4] s) => (float[N,5,4] y) { y = LayerNormalization(x, s) }", 1,
         [(0, 1)]),
        ("f (float[N,5,4] x, float[5,4] s) => (float y) { y = LayerNormalization<axis=1>(x, s) }",
         1, None),
        ("f (float[N,5,4] x, float[4,3] w) => (float[N,5,3] y) { y = MatMul(x, w) }", 1, [(0, 1)]),
        ("f (float[N,5,4] x, float[4,3] w) => (float[N,5,3] y) { y = MatMul(x, w) }", 2, None),
        ("f (float[N,2,5,4] x, float[N,2,4,5] b) => (float[N,2,5,5] y) { y = MatMul(x, b) }", 2,
         [(0, 2)]),
        ("f (float[N,2,5,4] x, float[N,2,4,5] b) => (float[N,2,5,5] y) { y = MatMul(x, b) }", 1,
         [(0, 1), (1, 1)]),
        ("f (float[5,4] x, float[4,3] w, float[3] b) => (float[5,3] y) { y = Gemm(x, w, b) }", 0,
         [(0, 0)]),
        ("f (float[4,5] x, float[4,3] w) => (float[5,3] y) { y = Gemm<transA=1>(x, w) }", 0, None),
        ("f (float[5,4] x, float[4,3] w, float[5,1] b) => (float[5,3] y) { y = Gemm(x, w, b) }", 0,
         None),
        ("f (float[N,2,5,4] x) => (float[N,5,2,4] y) { y = Transpose<perm=[0,2,1,3]>(x) }", 1,
         [(0, 2)]),
        ("f (float[N,5,4] x) => (float[N,5,4] y) { y = CumSum(x, x) }", 1, None),
        ("f (float[N,5,4] x, float[N,M,4] b) => (float[N,5,4] y) { y = Add(x, b) }", 1, None),
    ],
)  # fmt: skip
def test_which_inputs_carry_the_rows(
    text: str, axis: int, expected: list[tuple[int, int]] | None
) -> None:
    node = build(text).graph[0]
    found = carriers(node, axis)
    assert found == (None if expected is None else [Carrier(*item) for item in expected])


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ([0, 5, 8], 1, [Carrier(0, 1)]),
        ([-1, 5, 8], 1, [Carrier(0, 1)]),
        ([0, 5, 2, 2, 2], 1, [Carrier(0, 1)]),
        ([0, 10, 4], 1, None),
        ([0, 5, 4, 2], 2, None),
        ([0, 5, 8], 0, None),
    ],
)
def test_a_reshape_that_regroups_what_lies_behind_the_rows(
    shape: list[int], axis: int, expected: list[Carrier] | None
) -> None:
    result = ",".join(["N", *map(str, shape[1:])])
    graph = build(
        f"f (float[N,5,2,4] x, int64[S] s) => (float[{result}] y) {{ y = Reshape(x, s) }}",
        s=np.array(shape),
    )
    assert carriers(graph.graph[0], axis) == expected


def test_the_first_row_of_what_may_be_repeated() -> None:
    text = "f (float[N,A,4] x, float[N,B,4] b) => (float[N,C,4] y) { y = Add(x, b) }"
    node = build(text).graph[0]
    assert carriers(node, 1) is None
    assert carriers(node, 1, first=True) == [Carrier(0, 1), Carrier(1, 1)]


def test_another_domain_is_not_known() -> None:
    graph = build(
        "f (float[N,5,4] x, float w) => (float[N,5,3] y) { y = MatMul(x, w) }", w=rng_weight(4, 3)
    )
    graph.graph[0].domain = "example"
    assert carriers(graph.graph[0], 1) is None
