from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import ModelError
from tests.reference.checking import assert_same_bits, computed, integers

COMPARED = ("int8", "uint8", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("dtype", COMPARED)
@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparisons(op: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    a, b = integers(rng, dtype, (4, 1, 9), at_most=3), integers(rng, dtype, (3, 9), at_most=3)
    text = f"f ({dtype}[4,1,9] a, {dtype}[3,9] b) => (bool[A,B,C] y) {{ y = {op}(a, b) }}"

    assert_same_bits(text, a=a, b=b)


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic_of_two(op: str) -> None:
    text = f"""f (bool[4] a, bool[4] b) => (bool[4] y, bool[4] z) {{
        y = {op}(a, b)
        z = Not(y)
    }}"""

    assert_same_bits(text, a=np.array([0, 0, 1, 1], bool), b=np.array([0, 1, 0, 1], bool))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64"])
def test_where(dtype: str) -> None:
    rng = np.random.default_rng(2)
    text = f"f (bool[4,1] c, {dtype}[6] a, {dtype} b) => ({dtype}[4,6] y) {{ y = Where(c, a, b) }}"

    assert_same_bits(
        text,
        c=np.array([[True], [False], [True], [False]]),
        a=integers(rng, dtype, (6,)),
        b=integers(rng, dtype, ()),
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "uint64"])
@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_bits_of_two(op: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    text = f"""f ({dtype}[9] a, {dtype}[9] b) => ({dtype}[9] y, {dtype}[9] z) {{
        y = {op}(a, b)
        z = BitwiseNot(y)
    }}"""

    assert_same_bits(text, a=integers(rng, dtype, (9,)), b=integers(rng, dtype, (9,)))


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts(direction: str, dtype: str) -> None:
    rng = np.random.default_rng(4)
    x = integers(rng, dtype, (4, 8), at_most=None if direction == "RIGHT" else 1)
    by = np.arange(8).astype(dtype)
    text = f"""f ({dtype}[4, 8] x, {dtype}[8] by) => ({dtype}[4, 8] y) {{
        y = BitShift <direction = "{direction}"> (x, by)
    }}"""

    assert_same_bits(text, x=x, by=by)


@pytest.mark.parametrize(
    ("direction", "by", "reason"),
    [("RIGHT", 8, "it shifts uint8 by 8 bits"), ("LEFT", 7, "moves bits out of uint8")],
)
def test_shifts_that_lose_the_number(direction: str, by: int, reason: str) -> None:
    text = f"""f (uint8[1] x, uint8[1] by) => (uint8[1] y) {{
        [n] y = BitShift <direction = "{direction}"> (x, by)
    }}"""

    with pytest.raises(ModelError, match=rf"'n' \(BitShift\): .*{reason}"):
        computed(text, x=np.array([3], np.uint8), by=np.array([by], np.uint8))
