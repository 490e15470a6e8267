"""Operators element by element, with broadcasting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from tests.autodiff.checking import assert_gradients, assert_second_gradients, gradients
from tests.passes.rewrite.building import build

each = settings(deadline=None, max_examples=12)


@st.composite
def broadcast_pairs(draw: st.DrawFn) -> tuple[str, str]:
    """Two shapes that broadcast to each other."""
    full = draw(st.lists(st.integers(2, 3), min_size=1, max_size=3))
    shapes = []
    for _ in range(2):
        cut = draw(st.integers(0, len(full) - 1))
        shapes.append([n if draw(st.booleans()) else 1 for n in full[cut:]])
    return ",".join(map(str, shapes[0])), ",".join(map(str, shapes[1]))


@each
@given(shapes=broadcast_pairs())
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"])
def test_two_operands(op_type: str, shapes: tuple[str, str]) -> None:
    a, b = shapes
    model = build(f"f (float[{a}] a, float[{b}] b) => (float[] y) {{ y = {op_type}(a, b) }}")

    assert_gradients(model, ["a", "b"])
    assert_second_gradients(model, ["a", "b"])


@each
@given(shapes=broadcast_pairs())
@pytest.mark.parametrize("op_type", ["Div", "Pow"])
def test_division_and_power(op_type: str, shapes: tuple[str, str]) -> None:
    a, b = shapes
    text = f"f (float[{a}] x, float[{b}] b) => (float[] y) {{ a = Exp(x) y = {op_type}(a, b) }}"
    if op_type == "Div":
        text = text.replace("y = Div(a, b)", "c = Exp(b) y = Div(a, c)")
    model = build(text)

    assert_gradients(model, ["a", "b"])
    assert_second_gradients(model, ["x", "b"])


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0])
def test_a_constant_power_of_any_sign(exponent: float) -> None:
    text = "f (float[3,4] x, float p) => (float[3,4] y) { y = Pow(x, p) }"
    model = build(text, p=np.float32(exponent))

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


def test_the_square_of_zero() -> None:
    text = "f (float[1] x, float p) => (float[1] y) { y = Pow(x, p) }"
    found = vjp(build(text, p=np.float32(2)), ["x"])
    feeds = {"x": np.zeros(1, np.float32), found.cotangents["y"]: np.ones(1, np.float32)}

    assert gradients(found, feeds)["x"] == 0


def test_where() -> None:
    text = "f (float[2,3] a, float[3] b, float zero) => (float[2,3] y) {"
    model = build(f"{text} c = Greater(a, zero) y = Where(c, a, b) }}", zero=np.float32(0))

    assert_gradients(model, ["a", "b"])
    assert_second_gradients(model, ["a", "b"])


def test_equal_operands_of_max_share_evenly() -> None:
    found = vjp(build("f (float[1] a, float[1] b) => (float[1] y) { y = Max(a, b) }"), ["a", "b"])
    one = np.ones(1, np.float32)

    got = gradients(found, {"a": one, "b": one, found.cotangents["y"]: one})

    assert (got["a"].item(), got["b"].item()) == (0.5, 0.5)


def test_an_operand_used_twice_gets_both_parts() -> None:
    model = build("f (float[3] x) => (float[3] y) { z = Mul(x, x) y = Add(z, x) }")

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


def test_through_another_precision() -> None:
    model = build(
        "f (float[3] x) => (float[3] y) { a = Cast<to=11>(x) b = Mul(a, a) y = Cast<to=1>(b) }"
    )

    assert_gradients(model, ["x"])


def test_rounding_lets_the_gradient_through() -> None:
    found = vjp(build("f (float[2] x) => (float[2] y) { y = Round(x) }"), ["x"])
    d = np.array([0.25, -3], np.float32)

    got = gradients(found, {"x": np.array([0.4, 1.7], np.float32), found.cotangents["y"]: d})

    np.testing.assert_array_equal(got["x"], d)


@pytest.mark.parametrize("op_type", ["Floor", "Ceil", "Sign"])
def test_steps_have_no_gradient(op_type: str) -> None:
    text = f"f (float[2] x) => (float[2] y) {{ a = {op_type}(x) y = Add(a, x) }}"
    found = vjp(build(text), ["x"])
    d = np.array([0.25, -3], np.float32)

    got = gradients(found, {"x": np.array([0.4, 1.7], np.float32), found.cotangents["y"]: d})

    np.testing.assert_array_equal(got["x"], d)
