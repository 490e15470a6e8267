"""Pooling over kernels, strides, pads and rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from onnxq.errors import ModelError
from tests.autodiff.checking import assert_gradients, assert_second_gradients, gradients
from tests.passes.rewrite.building import build


@st.composite
def pools(draw: st.DrawFn, op_type: str) -> str:
    rank = draw(st.sampled_from([1, 2, 2, 2]))
    kernel = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    strides = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    dilations = draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    sizes = draw(st.lists(st.integers(4, 7), min_size=rank, max_size=rank))
    pads = [draw(st.integers(0, kernel[i % rank] - 1)) for i in range(2 * rank)]
    ceil = draw(st.integers(0, 1))
    extra = f", count_include_pad={draw(st.integers(0, 1))}" if op_type == "AveragePool" else ""
    for i in range(rank):
        reach = (kernel[i] - 1) * dilations[i] + 1
        padded = sizes[i] + pads[i] + pads[rank + i]
        assume(padded >= reach)
        if ceil:  # a window that would start behind the end: runtimes differ in what they do
            count = -(-(padded - reach) // strides[i])
            assume(count * strides[i] < sizes[i] + pads[i])
            assume(not extra or count * strides[i] + reach <= padded)
    attributes = (
        f"kernel_shape={kernel}, strides={strides}, dilations={dilations}, pads={pads},"
        f" ceil_mode={ceil}{extra}"
    )
    return f"f (float{[2, 2, *sizes]} x) => (float[] y) {{ y = {op_type}<{attributes}>(x) }}"


@settings(deadline=None, max_examples=30)
@given(text=pools("MaxPool"))
def test_max_pool(text: str) -> None:
    assert_gradients(build(text), ["x"])


@settings(deadline=None, max_examples=8)
@given(text=pools("MaxPool"))
def test_max_pool_twice(text: str) -> None:
    model = build(text.replace("x) }", "z) }").replace("{ y", "{ z = Exp(x) y"))

    assert_second_gradients(model, ["x"])


@settings(deadline=None, max_examples=30)
@given(text=pools("AveragePool"))
def test_average_pool(text: str) -> None:
    assert_gradients(build(text), ["x"])


@settings(deadline=None, max_examples=8)
@given(text=pools("AveragePool"))
def test_average_pool_twice(text: str) -> None:
    assert_second_gradients(build(text), ["x"])


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", ["2,3,4", "2,3,4,5"])
def test_pooling_of_all_positions(op_type: str, shape: str) -> None:
    model = build(f"f (float[{shape}] x) => (float[] y) {{ y = {op_type}(x) }}")

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


def test_one_of_equal_maxima_gets_all() -> None:
    found = vjp(
        build("f (float[1,1,4] x) => (float[] y) { y = MaxPool<kernel_shape=[4]>(x) }"), ["x"]
    )
    feeds = {"x": np.zeros((1, 1, 4), np.float32)}

    got = gradients(found, {**feeds, found.cotangents["y"]: np.ones((1, 1, 1), np.float32)})

    np.testing.assert_array_equal(got["x"], [[[1, 0, 0, 0]]])


def test_the_forward_pooling_returns_no_indices() -> None:
    text = "f (float[1,1,4] x) => (float[] y) { y = MaxPool<kernel_shape=[2]>(x) }"
    first = next(n for n in vjp(build(text), ["x"]).model.graph if n.op_type == "MaxPool")

    assert len(first.outputs) == 1


def test_indices_by_columns_are_refused() -> None:
    text = "f (float[1,1,4] x) => (float[] y) { y = MaxPool<kernel_shape=[2], storage_order=1>(x) }"

    with pytest.raises(ModelError, match=r"'node_y' \(MaxPool\): .*storage_order"):
        vjp(build(text), ["x"])
