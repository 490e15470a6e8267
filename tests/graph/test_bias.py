from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.contract import structural_fault
from onnxq.graph.bias import add_to_bias, added_bias, takes_shift
from onnxq.graph.qdq import GraphEditor
from tests.passes.rewrite.building import build, ops, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

SHIFT = np.array([1.0, -2.0, 3.0], np.float32)
IMAGE, MATRIX = "float[2,4,5,5] x", "float[2,4] x"


def graph(head: str, body: str, rank: int, **weights: npt.ArrayLike) -> ir.Model:
    heads = [f"float[{','.join(map(str, np.shape(a)))}] {n}" for n, a in weights.items()]
    dims = ",".join("ABCD"[:rank])
    text = f"f ({', '.join([head, *heads])}) => (float[{dims}] y) {{ {body} }}"
    return build(text, **weights)


def shifted(source: ir.Model, name: str) -> list[str]:
    """Shifts the layer that computes ``name``, and asserts that y moves by the shift."""
    feeds, before = feeds_for(source), source.clone()
    add_to_bias(GraphEditor(source.graph), source.graph.node(f"node_{name}"), SHIFT)
    assert structural_fault(before, source) is None
    y = run(source, feeds)["y"]
    moved = y - run(before, feeds)["y"]
    column = SHIFT.reshape(-1, *[1] * (y.ndim - 2))
    np.testing.assert_allclose(moved, np.broadcast_to(column, y.shape), atol=1e-4)
    return ops(source)


KERNEL, SPREAD = rng_weight(3, 4, 3, 3), rng_weight(4, 3, 2, 2)
DENSE, BIAS = rng_weight(4, 3), rng_weight(3, seed=1)


@pytest.mark.parametrize(
    ("source", "takes"),
    [
        (graph(IMAGE, "y = Conv(x, w)", 4, w=KERNEL), True),
        (graph(MATRIX, "y = Gemm(x, w, b)", 2, w=DENSE, b=BIAS), True),
        (graph(MATRIX, "y = Gemm<beta=2.0>(x, w, b)", 2, w=DENSE, b=BIAS), False),
        (graph(MATRIX, "b = ReduceSum(x) y = Gemm(x, w, b)", 2, w=DENSE), False),
        (graph(MATRIX, "y = MatMul(x, w)", 2, w=DENSE), False),
    ],
)
def test_which_biases_take_a_shift(source: ir.Model, takes: bool) -> None:
    assert takes_shift(source.graph.node("node_y")) == takes


@pytest.mark.parametrize(
    ("source", "left"),
    [
        (graph(IMAGE, "y = Conv(x, w)", 4, w=KERNEL), ["Conv"]),
        (graph(IMAGE, "y = Conv(x, w, b)", 4, w=KERNEL, b=BIAS), ["Conv"]),
        (graph(IMAGE, "y = ConvTranspose(x, w)", 4, w=SPREAD), ["ConvTranspose"]),
        (graph(MATRIX, "y = Gemm(x, w)", 2, w=DENSE), ["Gemm"]),
        (graph(MATRIX, "y = Gemm(x, w, b)", 2, w=DENSE, b=BIAS[:1]), ["Gemm"]),
        (graph(MATRIX, "y = Gemm<beta=2.0>(x, w, b)", 2, w=DENSE, b=BIAS), ["Gemm", "Add"]),
        (graph(MATRIX, "y = MatMul(x, w)", 2, w=DENSE), ["MatMul", "Add"]),
    ],
)
def test_the_output_moves_by_the_shift(source: ir.Model, left: list[str]) -> None:
    assert shifted(source, "y") == left


@pytest.mark.parametrize("order", ["h, b", "b, h"])
def test_a_matmul_shares_the_add_behind_it(order: str) -> None:
    source = graph(MATRIX, f"h = MatMul(x, w) y = Add({order})", 2, w=DENSE, b=BIAS)
    assert shifted(source, "h") == ["MatMul", "Add"]


@pytest.mark.parametrize(
    "body",
    [
        "h = MatMul(x, w) y = Add(h, s)",
        "h = MatMul(x, w) y = Add(h, c)",
        "h = MatMul(x, w) a = Add(h, b) z = Sub(h, h) y = Add(a, z)",
    ],
    ids=["one number", "one per row", "read twice"],
)
def test_an_add_that_is_no_bias_stays(body: str) -> None:
    weights = {"w": DENSE, "b": BIAS, "s": np.ones(1, np.float32), "c": rng_weight(2, 1)}
    used = {name: array for name, array in weights.items() if f"{name})" in body}
    assert shifted(graph(MATRIX, body, 2, **used), "h")[:2] == ["MatMul", "Add"]


def test_a_bias_that_is_computed_gets_an_add() -> None:
    source = graph(IMAGE, "c = Relu(r) y = Conv(x, w, c)", 4, w=KERNEL, r=BIAS)
    source.graph.inputs.append(source.graph.initializers["r"])
    assert shifted(source, "y") == ["Relu", "Conv", "Add"]


def test_a_shared_bias_stays_for_the_others() -> None:
    body = "h = Conv(x, w, b) r = Conv(x, w, b) y = Sub(h, r)"
    assert shifted(graph(IMAGE, body, 4, w=KERNEL, b=BIAS), "h") == ["Conv", "Conv", "Sub"]


def test_a_constant_behind_a_product_is_found_with_its_place() -> None:
    model = build(
        """f (float[2,3] x, float[3,4] w, float[4] b, float[1] one, float[1,1,4] deep)
            => (float[2,4] y, float[2,4] z, float[1,2,4] v) {
            p = MatMul(x, w)
            y = Add(b, p)
            q = MatMul(x, w)
            z = Add(q, one)
            r = MatMul(x, w)
            v = Add(r, deep) }""",
        w=np.ones((3, 4), np.float32),
        b=np.arange(4, dtype=np.float32),
        one=np.ones(1, np.float32),
        deep=np.ones((1, 1, 4), np.float32),
    )
    first, _, second, _, third, _ = model.graph
    found = added_bias(first.outputs[0])
    assert found is not None
    assert (found[0].op_type, found[1]) == ("Add", 0)
    np.testing.assert_array_equal(found[2], np.arange(4))
    assert added_bias(second.outputs[0]) is None
    assert added_bias(third.outputs[0]) is None
