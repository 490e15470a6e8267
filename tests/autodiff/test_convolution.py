"""Conv and ConvTranspose over kernels, strides, pads, dilations and groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from onnxq.errors import ModelError
from tests.autodiff.checking import assert_gradients, assert_second_gradients
from tests.passes.rewrite.building import build, rng_weight


class Case(NamedTuple):
    text: str
    x: tuple[int, ...]
    weight: tuple[int, ...]


def _words(numbers: list[int]) -> str:
    return f"[{', '.join(map(str, numbers))}]"


@st.composite
def convolutions(draw: st.DrawFn, *, transpose: bool = False) -> Case:
    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    axes = st.integers(1, 3)
    kernel = draw(st.lists(axes, min_size=rank, max_size=rank))
    strides = draw(st.lists(axes, min_size=rank, max_size=rank))
    dilations = draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    pads = draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))
    sizes = draw(st.lists(st.integers(3, 6), min_size=rank, max_size=rank))
    group, into, out = (draw(st.integers(1, 2)) for _ in range(3))
    group = draw(st.sampled_from([1, group, 3]))
    samples = draw(st.integers(1, 2))
    extra = ""
    for i in range(rank):
        reach = (kernel[i] - 1) * dilations[i] + 1
        padding = pads[i] + pads[rank + i]
        assume((sizes[i] - 1) * strides[i] + reach > padding if transpose else True)
        assume(sizes[i] + padding >= reach or transpose)
    if transpose:
        added = [draw(st.integers(0, step - 1)) for step in strides]
        extra = f", output_padding={_words(added)}"
    weight = (group * into, out, *kernel) if transpose else (group * out, into, *kernel)
    attributes = (
        f"kernel_shape={_words(kernel)}, strides={_words(strides)}, pads={_words(pads)},"
        f" dilations={_words(dilations)}, group={group}{extra}"
    )
    op_type = "ConvTranspose" if transpose else "Conv"
    x = (samples, group * into, *sizes)
    text = (
        f"f (float{list(x)} x, float{list(weight)} w, float[{group * out}] b) => (float[] y)"
        f" {{ y = {op_type}<{attributes}>(x, w, b) }}"
    )
    return Case(text, x, weight)


@settings(deadline=None, max_examples=60)
@given(case=convolutions())
def test_conv(case: Case) -> None:
    assert_gradients(build(case.text), ["x", "w", "b"])


@settings(deadline=None, max_examples=25)
@given(case=convolutions())
def test_conv_twice(case: Case) -> None:
    assert_second_gradients(build(case.text), ["x", "w", "b"])


@settings(deadline=None, max_examples=40)
@given(case=convolutions(transpose=True))
def test_conv_transpose(case: Case) -> None:
    assert_gradients(build(case.text), ["x", "w", "b"])


@settings(deadline=None, max_examples=15)
@given(case=convolutions(transpose=True))
def test_conv_transpose_twice(case: Case) -> None:
    assert_second_gradients(build(case.text), ["x", "w", "b"])


@settings(deadline=None, max_examples=20)
@given(
    automatic=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    stride=st.integers(1, 3),
    kernel=st.integers(1, 4),
    size=st.integers(4, 7),
)
def test_automatic_padding(automatic: str, stride: int, kernel: int, size: int) -> None:
    attributes = f'auto_pad="{automatic}", strides=[{stride}, 1]'
    text = f"f (float[1,2,{size},5] x, float[3,2,{kernel},2] w) => (float[] y) {{"

    assert_gradients(build(f"{text} y = Conv<{attributes}>(x, w) }}"), ["x", "w"])


def _emitted(text: str, wrt: str) -> list[str]:
    model = build(text, w=rng_weight(*SHAPES[text]))
    forward = [node.op_type for node in model.graph]
    ops = [node.op_type for node in vjp(model, [wrt]).model.graph]
    for op_type in forward:
        ops.remove(op_type)
    return ops


DENSE = "f (float[2,4,9,9] x, float[4,4,3,3] w) => (float[] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
STRIDED = "f (float[2,4,9,9] x, float[4,4,3,3] w) => (float[] y) { y = Conv<strides=[2,2]>(x, w) }"
POINT = "f (float[2,4,9,9] x, float[4,4,1,1] w) => (float[] y) { y = Conv(x, w) }"
FEW = "f (float[4,64,1,1] x, float[64,64,1,1] w) => (float[] y) { y = Conv(x, w) }"
DEPTHWISE = "f (float[2,4,9,9] x, float[4,1,3,3] w) => (float[] y) { y = Conv<group=4>(x, w) }"
SHAPES = {
    DENSE: (4, 4, 3, 3),
    STRIDED: (4, 4, 3, 3),
    POINT: (4, 4, 1, 1),
    FEW: (64, 64, 1, 1),
    DEPTHWISE: (4, 1, 3, 3),
}


def test_without_strides_the_input_gets_a_convolution_with_the_flipped_weight() -> None:
    assert "ConvTranspose" not in _emitted(DENSE, "x")
    assert "Conv" in _emitted(DENSE, "x")


def test_with_strides_the_input_gets_a_transposed_convolution() -> None:
    assert _emitted(STRIDED, "x") == ["ConvTranspose"]


def test_one_tap_takes_no_patches() -> None:
    ops = _emitted(POINT, "w")

    assert "Conv" not in ops
    assert ops.count("MatMul") == 1


def test_few_positions_are_one_product() -> None:
    ops = _emitted(FEW, "w")

    assert ops.count("Gemm") == 1
    assert "ReduceSum" not in ops


def test_a_depthwise_weight_gets_products_of_patches() -> None:
    ops = _emitted(DEPTHWISE, "w")

    assert ops.count("Conv") == 1
    assert ops.count("MatMul") == 1


def test_transposed_with_automatic_padding_is_refused() -> None:
    text = 'f (float[1,2,5] x, float[2,1,3] w) => (float[] y) { y = ConvTranspose<auto_pad="VALID">'
    model = build(f"{text}(x, w) }}", w=np.ones((2, 1, 3), np.float32))

    with pytest.raises(ModelError, match=r"node_y.*ConvTranspose.*auto_pad"):
        vjp(model, ["x"])
