from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.errors import ModelError
from tests.reference.checking import assert_same_bits, computed, integers


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather(axis: int, dtype: str) -> None:
    rng = np.random.default_rng(1)
    text = f"""f ({dtype}[4, 5, 6] x, int64[2, 3] i) => ({dtype}[A, B, C, D] y) {{
        y = Gather <axis = {axis}> (x, i)
    }}"""

    assert_same_bits(text, x=integers(rng, dtype, (4, 5, 6)), i=rng.integers(-4, 4, (2, 3)))


def test_gather_is_a_table_of_codes() -> None:
    rng = np.random.default_rng(2)
    text = """f (uint8[256] t, uint8[2, 9] q) => (uint8[A, B] y) {
        i = Cast <to = 6> (q)
        y = Gather (t, i)
    }"""

    assert_same_bits(text, t=integers(rng, "uint8", (256,)), q=integers(rng, "uint8", (2, 9)))


def test_gather_elements() -> None:
    rng = np.random.default_rng(3)
    text = """f (int8[4, 5] x, int64[3, 2] i) => (int8[A, B] y) {
        y = GatherElements <axis = 1> (x, i)
    }"""

    assert_same_bits(text, x=integers(rng, "int8", (4, 5)), i=rng.integers(-5, 5, (3, 2)))


@pytest.mark.parametrize(("batch", "shape"), [(0, (3, 2)), (1, (4, 3, 1)), (2, (4, 5, 1))])
def test_gather_nd(batch: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    rank = len(shape) - 1 + 3 - batch - shape[-1]
    text = f"""f (int32[4, 5, 6] x, int64[{",".join(map(str, shape))}] i)
              => (int32[{",".join("ABCDE"[:rank])}] y) {{
        y = GatherND <batch_dims = {batch}> (x, i)
    }}"""

    assert_same_bits(text, x=integers(rng, "int32", (4, 5, 6)), i=rng.integers(-4, 4, shape))


def test_scatter_nd() -> None:
    rng = np.random.default_rng(5)
    text = """f (int32[4, 5] x, int64[3, 1] i, int32[3, 5] u) => (int32[4, 5] y) {
        y = ScatterND (x, i, u)
    }"""

    assert_same_bits(
        text,
        x=integers(rng, "int32", (4, 5)),
        i=np.array([[2], [0], [-1]]),
        u=integers(rng, "int32", (3, 5)),
    )


@settings(max_examples=30, deadline=None)
@given(
    start=st.integers(-12, 12),
    end=st.integers(-12, 12),
    step=st.sampled_from([-3, -1, 1, 2]),
    far=st.booleans(),
)
def test_slice(start: int, end: int, step: int, far: bool) -> None:
    end = (2**31 if step > 0 else -(2**31)) if far else end
    text = """f (int32[2, 9] x, int64[1] s, int64[1] e, int64[1] d) => (int32[A, B] y) {
        axes = Constant <value_ints = [-1]> ()
        y = Slice (x, s, e, axes, d)
    }"""
    x = np.arange(18, dtype=np.int32).reshape(2, 9)

    assert_same_bits(text, x=x, s=np.array([start]), e=np.array([end]), d=np.array([step]))


def test_slice_by_attributes() -> None:
    text = """<ir_version: 5, opset_import: ["": 9]> f (float[4, 5] x) => (float[A, B] y) {
        y = Slice <starts = [1, -2], ends = [9, 5]> (x)
    }"""

    assert_same_bits(text, x=np.arange(20, dtype=np.float32).reshape(4, 5))


def test_an_index_that_is_not_there_is_an_error() -> None:
    text = "f (uint8[4] x, int64[2] i) => (uint8[2] y) { [n] y = Gather (x, i) }"

    with pytest.raises(ModelError, match=r"'n' \(Gather\): index 4 is not among 4"):
        computed(text, x=np.zeros(4, np.uint8), i=np.array([0, 4]))
