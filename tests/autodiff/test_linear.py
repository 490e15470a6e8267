"""MatMul and Gemm."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from tests.autodiff.checking import assert_gradients, assert_second_gradients
from tests.passes.rewrite.building import build

MATMULS = [
    ("3,4", "4,5"),
    ("2,3,4", "4,5"),
    ("2,2,3,4", "4,5"),
    ("3,4", "2,4,5"),
    ("2,3,4", "2,4,5"),
    ("2,1,3,4", "3,4,5"),
    ("1,3,4", "2,4,5"),
    ("4", "4,5"),
    ("4", "2,4,5"),
    ("3,4", "4"),
    ("2,3,4", "4"),
    ("4", "4"),
]


@pytest.mark.parametrize(("a", "b"), MATMULS)
def test_matmul(a: str, b: str) -> None:
    model = build(f"f (float[{a}] a, float[{b}] b) => (float[] y) {{ y = MatMul(a, b) }}")

    assert_gradients(model, ["a", "b"])
    assert_second_gradients(model, ["a", "b"])


@settings(deadline=None, max_examples=12)
@given(
    ta=st.booleans(),
    tb=st.booleans(),
    alpha=st.sampled_from([1.0, 0.5, -2.0]),
    beta=st.sampled_from([1.0, 0.25]),
    c=st.sampled_from(["5", "3,5", "3,1", "1", ""]),
)
def test_gemm(ta: bool, tb: bool, alpha: float, beta: float, c: str) -> None:
    a, b = "4,3" if ta else "3,4", "5,4" if tb else "4,5"
    third = f", float[{c}] c" if c else ", float c"
    attributes = f"transA={int(ta)}, transB={int(tb)}, alpha={alpha}, beta={beta}"
    text = f"f (float[{a}] a, float[{b}] b{third}) => (float[3,5] y) {{"
    model = build(f"{text} y = Gemm<{attributes}>(a, b, c) }}")

    assert_gradients(model, ["a", "b", "c"])
    assert_second_gradients(model, ["a", "b", "c"])


def test_a_shared_matrix_gets_its_gradient_from_one_gemm() -> None:
    model = build("f (float[2,3,4] a, float[4,5] b) => (float[2,3,5] y) { y = MatMul(a, b) }")

    ops = [node.op_type for node in vjp(model, ["b"]).model.graph]

    assert ops.count("Gemm") == 1
    assert "ReduceSum" not in ops
