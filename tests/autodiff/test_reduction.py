"""Reductions over axes, kept or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from onnxq.errors import ModelError
from tests.autodiff.checking import assert_gradients, assert_second_gradients
from tests.passes.rewrite.building import build

REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Sum SumSquare"


@settings(deadline=None, max_examples=8)
@given(
    axes=st.lists(st.integers(-3, 2), max_size=3, unique_by=lambda axis: axis % 3),
    keep=st.integers(0, 1),
    empty=st.integers(0, 1),
)
@pytest.mark.parametrize("kind", REDUCTIONS.split())
def test_a_reduction(kind: str, axes: list[int], keep: int, empty: int) -> None:
    attributes = f"keepdims={keep}, noop_with_empty_axes={empty}"
    if empty and not axes and kind != "Sum":
        return  # the reference evaluator squares or takes the logarithm all the same
    text = f"f (float[2,3,4] x, int64[{len(axes)}] axes) => (float[] y) {{ z = Exp(x)"
    model = build(
        f"{text} y = Reduce{kind}<{attributes}>(z, axes) }}", axes=np.array(axes, np.int64)
    )

    assert_gradients(model, ["x", "z"])


@pytest.mark.parametrize("kind", REDUCTIONS.split())
def test_a_reduction_twice(kind: str) -> None:
    text = "f (float[2,3,4] x, int64[2] axes) => (float[] y) { z = Exp(x)"
    model = build(f"{text} y = Reduce{kind}<keepdims=0>(z, axes) }}", axes=np.array([0, 2]))

    assert_second_gradients(model, ["x"])


@settings(deadline=None, max_examples=8)
@given(axis=st.integers(-2, 1), exclusive=st.integers(0, 1), reverse=st.integers(0, 1))
def test_a_running_sum(axis: int, exclusive: int, reverse: int) -> None:
    text = "f (float[3,4] x, int64 axis) => (float[3,4] y) {"
    attributes = f"exclusive={exclusive}, reverse={reverse}"
    model = build(f"{text} y = CumSum<{attributes}>(x, axis) }}", axis=np.array(axis))

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


def test_axes_that_are_computed_from_data_are_refused() -> None:
    text = "f (float[3,4] x) => (float[] y) { a = ReduceMax<keepdims=0>(x) b = Cast<to=7>(a)"
    model = build(
        f"{text} c = Mul(b, zero) d = Unsqueeze(c, at) y = ReduceSum(x, d) }}".replace(
            "float[3,4] x)", "float[3,4] x, int64 zero, int64[1] at)"
        ),
        zero=np.array(0),
        at=np.array([0]),
    )

    with pytest.raises(ModelError, match=r"'node_y' \(ReduceSum\): its axes depend on the data"):
        vjp(model, ["x"])
