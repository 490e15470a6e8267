from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.errors import ModelError
from tests.reference.checking import assert_same_bits, computed, integers


class Form(NamedTuple):
    """A convolution that fits together."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    attributes: str


@st.composite
def forms(draw: st.DrawFn) -> Form:
    """Draws shapes and attributes: rank, groups, strides, dilations, uneven padding."""
    rank = draw(st.sampled_from([1, 2, 2, 2]))
    group = draw(st.sampled_from([1, 1, 2, 4]))
    inner, outer = draw(st.integers(1, 3)), draw(st.integers(1, 3))

    def numbers(low: int, high: int, count: int = rank) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    kernel, dilations = numbers(1, 3), numbers(1, 2)
    attributes = {"group": group, "strides": numbers(1, 3), "dilations": dilations}
    padding = draw(st.sampled_from(["none", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if padding == "pads":
        attributes["pads"] = numbers(0, 2, 2 * rank)
    words = [f"{name} = {value}" for name, value in attributes.items()]
    if padding not in ("none", "pads"):
        # onnxruntime pads automatically for dilation 1 alone.
        words = [word for word in words if not word.startswith("dilations")]
        words.append(f'auto_pad = "{padding}"')
    sizes = numbers(5, 9)
    return Form((2, group * inner, *sizes), (group * outer, inner, *kernel), ", ".join(words))


def dims(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


@settings(max_examples=25, deadline=None)
@given(
    form=forms(),
    codes=st.sampled_from([("uint8", "uint8"), ("uint8", "int8")]),
    zeros=st.tuples(st.integers(0, 255), st.integers(0, 127)),
    seed=st.integers(0, 99),
)
def test_conv_integer(
    form: Form, codes: tuple[str, str], zeros: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    text = f"""f ({codes[0]}[{dims(form.x)}] x, {codes[1]}[{dims(form.w)}] w,
                  {codes[0]} a, {codes[1]} b) => (int32[{", ".join("NOHW"[: len(form.x)])}] y) {{
        y = ConvInteger <{form.attributes}> (x, w, a, b)
    }}"""

    assert_same_bits(
        text,
        x=integers(rng, codes[0], form.x),
        w=integers(rng, codes[1], form.w, at_most=60),
        a=np.asarray(zeros[0], codes[0]),
        b=np.asarray(zeros[1], codes[1]),
    )


@settings(max_examples=25, deadline=None)
@given(form=forms(), ties=st.booleans(), bias=st.booleans(), seed=st.integers(0, 99))
def test_qlinear_conv(form: Form, ties: bool, bias: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    outer = form.w[0]
    # Small sums times powers of two are often halves, and their rounding shows.
    factors = 2.0 ** rng.integers(-3, 0, outer) if ties else rng.uniform(0.002, 0.02, outer)
    text = f"""f (uint8[{dims(form.x)}] x, float xs, uint8 xz, int8[{dims(form.w)}] w,
                  float[{outer}] ws, int8[{outer}] wz, float ys, uint8 yz, int32[{outer}] b)
                  => (uint8[{", ".join("NOHW"[: len(form.x)])}] y) {{
        y = QLinearConv <{form.attributes}> (x, xs, xz, w, ws, wz, ys, yz{", b" if bias else ""})
    }}"""

    assert_same_bits(
        text,
        x=93 + integers(rng, "uint8", form.x, at_most=5 if ties else 162),
        xs=np.float32(0.125),
        xz=np.uint8(95),
        w=integers(rng, "int8", form.w, at_most=6 if ties else 60),
        ws=factors.astype(np.float32),
        wz=np.zeros(outer, np.int8),
        ys=np.float32(0.125),
        yz=np.uint8(111),
        b=integers(rng, "int32", (outer,), at_most=30 if ties else 3000),
    )


def test_zero_points_along_output_channels() -> None:
    rng = np.random.default_rng(3)
    x, w = integers(rng, "uint8", (1, 2, 5, 5)), integers(rng, "int8", (3, 2, 3, 3))
    zeros = np.array([3, 0, -5], np.int8)
    text = """f (uint8[1,2,5,5] x, int8[3,2,3,3] w, uint8 a, int8[3] b) => (int32[1,3,3,3] y) {
        y = ConvInteger (x, w, a, b)
    }"""

    found = computed(text, x=x, w=w, a=np.uint8(9), b=zeros)

    for channel, zero in enumerate(zeros):
        one = computed(
            text.replace("[3]", "[1]").replace("int8[3,", "int8[1,"),
            x=x,
            w=w[channel : channel + 1],
            a=np.uint8(9),
            b=np.array([zero]),
        )
        np.testing.assert_array_equal(found[:, channel], one[:, 0])


def test_a_sum_beyond_int32_is_an_error() -> None:
    text = """f (uint8[1, 40000, 1, 1] x, uint8[1, 40000, 1, 1] w) => (int32[1,1,1,1] y) {
        [n] y = ConvInteger (x, w)
    }"""
    ones = np.full((1, 40_000, 1, 1), 255, np.uint8)

    with pytest.raises(ModelError, match=r"'n' \(ConvInteger\): the result 2601000000 .*int32"):
        computed(text, x=ones, w=ones)


def test_weights_that_do_not_fit() -> None:
    text = """f (uint8[1, 3, 4, 4] x, uint8[2, 2, 1, 1] w) => (int32[N, O, H, W] y) {
        [n] y = ConvInteger (x, w)
    }"""

    with pytest.raises(ModelError, match=r"'n'.*do not fit 3 channels"):
        computed(text, x=np.zeros((1, 3, 4, 4), np.uint8), w=np.zeros((2, 2, 1, 1), np.uint8))
