from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import ModelError
from tests.reference.checking import assert_same_bits, computed, integers

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
# onnxruntime has no kernels of these for 16 bits.
CLIPPED = ("int8", "uint8", "int32", "uint32", "int64", "uint64")


def binary(op: str, dtype: str) -> str:
    return f"f ({dtype}[4, 1, 5] a, {dtype}[3, 5] b) => ({dtype}[A, B, C] y) {{ y = {op}(a, b) }}"


@pytest.mark.parametrize("dtype", SIGNED + UNSIGNED)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Mod", "Mod <fmod = 1>"])
def test_arithmetic_of_two(op: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    least = np.iinfo(dtype).min
    a, b = (integers(rng, dtype, shape, at_most=11) for shape in ((4, 1, 5), (3, 5)))
    if op.startswith(("Div", "Mod")):
        a = integers(rng, dtype, a.shape)
        a[0, 0, 0] = least
        b = np.where(np.abs(b.astype(np.int64)) < 2, 3, b).astype(dtype)
    if op == "Sub" and least == 0:
        a += 11

    assert_same_bits(binary(op, dtype), a=a, b=b)


def test_quotients_are_cut_toward_zero_and_rests_have_the_sign_of_the_divisor() -> None:
    a, b = np.array([-7, -7, 7, 7], np.int32), np.array([2, -2, 2, -2], np.int32)
    text = "f (int32[4] a, int32[4] b) => (int32[4] y) { y = OP(a, b) }"

    assert computed(text.replace("OP", "Div"), a=a, b=b).tolist() == [-3, 3, 3, -3]
    assert computed(text.replace("OP", "Mod"), a=a, b=b).tolist() == [1, -1, 1, -1]
    assert computed(text.replace("OP", "Mod<fmod=1>"), a=a, b=b).tolist() == [-1, -1, 1, 1]


@pytest.mark.parametrize("dtype", CLIPPED)
@pytest.mark.parametrize("op", ["Max", "Min"])
def test_extremes_of_several(op: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    text = binary(op, dtype).replace("b) =>", f"b, {dtype}[5] c) =>").replace("b) }", "b, c) }")

    shapes = {"a": (4, 1, 5), "b": (3, 5), "c": (5,)}
    assert_same_bits(text, **{n: integers(rng, dtype, shape) for n, shape in shapes.items()})


@pytest.mark.parametrize("dtype", CLIPPED)
def test_clip(dtype: str) -> None:
    x = integers(np.random.default_rng(3), dtype, (50,))
    text = f"""f ({dtype}[50] x) => ({dtype}[50] y, {dtype}[50] z) {{
        low = Constant <value = {dtype} {{17}}> ()
        high = Constant <value = {dtype} {{93}}> ()
        y = Clip (x, low, high)
        z = Clip (x, , high)
    }}"""

    assert_same_bits(text, x=x)


@pytest.mark.parametrize("dtype", SIGNED)
@pytest.mark.parametrize("op", ["Abs", "Neg", "Sign"])
def test_arithmetic_of_one(op: str, dtype: str) -> None:
    x = integers(np.random.default_rng(4), dtype, (50,))
    x[0] = np.iinfo(dtype).max

    assert_same_bits(f"f ({dtype}[50] x) => ({dtype}[50] y) {{ y = {op}(x) }}", x=x)


@pytest.mark.parametrize("dtype", ["int8", "int32", "float"])
def test_relu(dtype: str) -> None:
    x = np.arange(-5, 5).astype("float32" if dtype == "float" else dtype)

    assert_same_bits(f"f ({dtype}[10] x) => ({dtype}[10] y) {{ y = Relu(x) }}", x=x)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("attributes", ["", "<reverse = 1>", "<exclusive = 1, reverse = 1>"])
def test_cumulated_sums(attributes: str, dtype: str) -> None:
    x = integers(np.random.default_rng(5), dtype, (3, 7), at_most=1000)
    text = f"""f ({dtype}[3, 7] x) => ({dtype}[3, 7] y) {{
        axis = Constant <value = int64 {{1}}> ()
        y = CumSum {attributes} (x, axis)
    }}"""

    assert_same_bits(text, x=x)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_one_operation_on_floats_is_that_of_ieee(op: str) -> None:
    rng = np.random.default_rng(6)
    a, b = (rng.standard_normal(s, np.float32) for s in ((4, 1, 5), (3, 5)))

    assert_same_bits(binary(op, "float"), a=a, b=b)


@pytest.mark.parametrize(
    ("op", "dtype", "a", "b", "result"),
    [
        ("Add", "int8", 100, 28, 128),
        ("Add", "uint64", 2**63, 2**63, 2**64),
        ("Sub", "uint8", 3, 4, -1),
        ("Mul", "int32", 2**16, 2**15, 2**31),
        ("Mul", "int64", 2**32, 2**31, 2**63),
        ("Div", "int64", -(2**63), -1, 2**63),
        ("Div", "int8", -128, -1, 128),
    ],
)
def test_what_wraps_elsewhere_is_an_error_here(
    op: str, dtype: str, a: int, b: int, result: int
) -> None:
    text = f"f ({dtype}[2] a, {dtype}[2] b) => ({dtype}[2] y) {{ [n] y = {op}(a, b) }}"
    feeds = {"a": np.array([1, a], dtype), "b": np.array([1, b], dtype)}

    with pytest.raises(ModelError, match=rf"'n' \({op}\).* {result} at \[1\] .*fit {dtype}"):
        computed(text, **feeds)


def test_the_largest_results_that_fit_are_exact() -> None:
    text = "f (int64[1] a, int64[1] b) => (int64[1] y) { y = Mul(a, b) }"
    a, b = np.array([-(2**32)]), np.array([2**31])

    assert computed(text, a=a, b=b).tolist() == [-(2**63)]


@pytest.mark.parametrize("op", ["Neg", "Abs"])
def test_the_least_integer_has_no_opposite(op: str) -> None:
    with pytest.raises(ModelError, match="128 at"):
        computed(f"f (int8[1] x) => (int8[1] y) {{ y = {op}(x) }}", x=np.array([-128], np.int8))


@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_division_by_zero(op: str) -> None:
    text = f"f (int32[2] a, int32[2] b) => (int32[2] y) {{ [n] y = {op}(a, b) }}"

    with pytest.raises(ModelError, match=rf"'n' \({op}\): it divides by zero \(element \[1\]"):
        computed(text, a=np.ones(2, np.int32), b=np.array([1, 0], np.int32))
