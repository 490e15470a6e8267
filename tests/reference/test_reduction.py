from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import ModelError
from tests.reference.checking import assert_same_bits, computed, integers


def reduced(op: str, dtype: str, axes: str, attributes: str) -> str:
    given = "" if axes == "" else f"axes = Constant <value_ints = {axes}> ()"
    return f"""f ({dtype}[2, 3, 4] x) => ({dtype}[A, B, C] y) {{
        {given}
        y = {op} <{attributes}> (x{", axes" if axes else ""})
    }}"""


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("axes", ["", "[1]", "[-1, 0]"])
@pytest.mark.parametrize(
    "op", ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare"]
)
def test_reductions(op: str, axes: str, dtype: str) -> None:
    x = integers(np.random.default_rng(1), dtype, (2, 3, 4), at_most=1000)

    assert_same_bits(reduced(op, dtype, axes, "keepdims = 1"), x=x)


def test_reductions_drop_axes() -> None:
    x = integers(np.random.default_rng(2), "int32", (2, 3, 4), at_most=1000)
    text = reduced("ReduceSum", "int32", "[1]", "keepdims = 0").replace("[A, B, C]", "[A, B]")

    assert_same_bits(text, x=x)


def test_no_axes_can_mean_none() -> None:
    x = integers(np.random.default_rng(3), "int32", (2, 3, 4), at_most=1000)

    assert_same_bits(reduced("ReduceSum", "int32", "", "noop_with_empty_axes = 1"), x=x)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_extremes_of_bytes(op: str, dtype: str) -> None:
    x = integers(np.random.default_rng(4), dtype, (2, 3, 4))

    assert_same_bits(reduced(op, dtype, "[2]", "keepdims = 1"), x=x)


def test_axes_as_an_attribute() -> None:
    x = integers(np.random.default_rng(5), "int32", (2, 3), at_most=1000)
    text = """<ir_version: 8, opset_import: ["": 11]> f (int32[2, 3] x) => (int32[2, 1] y) {
        y = ReduceSum <axes = [1]> (x)
    }"""

    assert_same_bits(text, x=x)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize(
    "attributes", ["axis = 1", "axis = -1, keepdims = 0", "select_last_index = 1"]
)
def test_places_of_extremes(op: str, attributes: str, dtype: str) -> None:
    x = integers(np.random.default_rng(6), dtype, (4, 5, 6), at_most=3)
    out = "A, B" if "keepdims" in attributes else "A, B, C"

    assert_same_bits(
        f"f ({dtype}[4, 5, 6] x) => (int64[{out}] y) {{ y = {op} <{attributes}> (x) }}", x=x
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "float"])
@pytest.mark.parametrize("largest", [0, 1])
def test_top_k(largest: int, dtype: str) -> None:
    kind = "float32" if dtype == "float" else dtype
    x = integers(np.random.default_rng(7), "int8", (4, 9), at_most=3)
    x = (x + 3).astype(kind) if dtype == "uint8" else x.astype(kind)
    text = f"""f ({dtype}[4, 9] x) => ({dtype}[A, B] y, int64[A, B] i) {{
        k = Constant <value_ints = [4]> ()
        y, i = TopK <largest = {largest}> (x, k)
    }}"""

    assert_same_bits(text, x=x)


def test_a_sum_beyond_its_type_is_an_error() -> None:
    text = "f (int32[2] x) => (int32[1] y) { [n] y = ReduceSum (x) }"

    with pytest.raises(ModelError, match=r"'n' \(ReduceSum\): the result 2147483648 .* int32"):
        computed(text, x=np.array([2**31 - 1, 1], np.int32))
