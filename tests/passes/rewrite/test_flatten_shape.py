from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.rewrite.flatten_shape import FlattenShapePass
from tests.passes.rewrite.building import build, rewritten

if TYPE_CHECKING:
    import onnx_ir as ir


def _constant(source: ir.Model) -> list[int]:
    reshape = next(node for node in source.graph if node.op_type == "Reshape")
    value = reshape.inputs[1]
    assert value is not None
    assert value.const_value is not None
    return [int(item) for item in value.const_value.numpy()]


def _view(batch: str, rest: list[int], x: str = "float[N,4,3,1] x") -> ir.Model:
    return build(
        f"""f ({x}, int64 zero, int64[1] zeros, int64[1] one, int64[R] rest) => (float[A,B] y) {{
            {batch}
            t = Concat<axis=0>(n, rest)
            z = Reshape(x, t)
            y = Relu(z) }}""",
        zero=np.array(0),
        zeros=np.array([0]),
        one=np.array([1]),
        rest=np.array(rest),
    )


@pytest.mark.parametrize(
    "batch",
    [
        "s = Shape(x)\n g = Gather(s, zero)\n n = Unsqueeze(g, zeros)",
        "s = Shape(x)\n n = Gather(s, zeros)",
        "s = Shape(x)\n n = Slice(s, zeros, one)",
        "s = Shape(x)\n n = Slice(s, zeros, one, zeros, one)",
        "n = Shape<start=0, end=1>(x)",
        "s = Shape(x)\n g = Cast<to=6>(s)\n h = Gather(g, zeros)\n n = Cast<to=7>(h)",
    ],
    ids=["gather_unsqueeze", "gather", "slice", "slice_axes", "shape", "cast"],
)
def test_the_batch_is_copied(batch: str) -> None:
    graph = _view(batch, [-1])
    assert rewritten(FlattenShapePass(), graph).ops == ["Reshape", "Relu"]
    assert _constant(graph) == [0, -1]
    assert "rest" not in graph.graph.initializers


def test_tells_the_shape_of_the_result() -> None:
    graph = _view("s = Shape(x)\n n = Gather(s, zeros)", [-1])
    rewritten(FlattenShapePass(), graph)
    assert str(graph.graph[0].outputs[0].shape) == "[N,12]"


def test_rule_2_another_value_with_the_same_name_of_its_batch() -> None:
    graph = build(
        """f (float[N,4,3] x, float[N,5] b, int64[1] zeros, int64[1] rest) => (float[N,12] y) {
            s = Shape(b)
            n = Gather(s, zeros)
            t = Concat<axis=0>(n, rest)
            y = Reshape(x, t) }""",
        zeros=np.array([0]),
        rest=np.array([-1]),
    )
    assert rewritten(FlattenShapePass(), graph).ops == ["Reshape"]
    assert _constant(graph) == [0, -1]


def test_rule_3_a_dimension_at_another_place_is_inferred() -> None:
    graph = build(
        """f (float[4,N] x, int64[1] one, int64[1] rest) => (float[N,4] y) {
            s = Shape(x)
            n = Gather(s, one)
            t = Concat<axis=0>(n, rest)
            y = Reshape(x, t) }""",
        one=np.array([1]),
        rest=np.array([4]),
    )
    assert rewritten(FlattenShapePass(), graph).ops == ["Reshape"]
    assert _constant(graph) == [-1, 4]


def test_rule_3_two_dimensions_to_infer_stay() -> None:
    graph = build(
        """f (float[M,N] x, int64[1] one, int64[1] rest) => (float[N,M] y) {
            s = Shape(x)
            n = Gather(s, one)
            t = Concat<axis=0>(n, rest)
            y = Reshape(x, t) }""",
        one=np.array([1]),
        rest=np.array([-1]),
    )
    outcome = rewritten(FlattenShapePass(), graph)
    assert outcome.reasons == ["more than one of its dimensions would have to be inferred"]


def test_rule_1_arithmetic_stays() -> None:
    graph = _view("s = Shape(x)\n g = Gather(s, zeros)\n n = Mul(g, one)", [-1])
    outcome = rewritten(FlattenShapePass(), graph)
    assert "not put together from dimensions" in outcome.reasons[0]


def test_rule_1_a_shape_that_is_fed_stays() -> None:
    graph = build("f (float[6] x, int64[2] s) => (float[A,B] y) { y = Reshape(x, s) }")
    feeds = {"x": np.zeros(6, np.float32), "s": np.array([2, 3])}
    outcome = rewritten(FlattenShapePass(), graph, feeds)
    assert "not put together from dimensions" in outcome.reasons[0]


def test_rule_4_allowzero_stays() -> None:
    graph = build(
        """f (float[N,4] x, int64[1] zeros, int64[2] rest) => (float[N,2,2] y) {
            s = Shape(x)
            n = Gather(s, zeros)
            t = Concat<axis=0>(n, rest)
            y = Reshape<allowzero=1>(x, t) }""",
        zeros=np.array([0]),
        rest=np.array([2, 2]),
    )
    assert rewritten(FlattenShapePass(), graph).reasons == ["it has allowzero set"]


def test_what_others_need_of_the_shape_stays() -> None:
    graph = build(
        """f (float[N,4] x, int64[1] zeros, int64[2] rest) => (float[N,2,2] y, int64[1] n) {
            s = Shape(x)
            n = Gather(s, zeros)
            t = Concat<axis=0>(n, rest)
            y = Reshape(x, t) }""",
        zeros=np.array([0]),
        rest=np.array([2, 2]),
    )
    assert rewritten(FlattenShapePass(), graph).ops == ["Shape", "Gather", "Reshape"]
