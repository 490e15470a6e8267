from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.errors import ModelError
from onnxq.reference.integers import for_products
from tests.reference.checking import assert_same_bits, computed, integers


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_matmul(dtype: str) -> None:
    rng = np.random.default_rng(1)
    text = f"""f ({dtype}[2, 1, 3, 5] a, {dtype}[4, 5, 6] b) => ({dtype}[A, B, C, D] y) {{
        y = MatMul (a, b)
    }}"""

    assert_same_bits(
        text,
        a=integers(rng, dtype, (2, 1, 3, 5), at_most=9000),
        b=integers(rng, dtype, (4, 5, 6), at_most=9000),
    )


@settings(max_examples=25, deadline=None)
@given(
    codes=st.sampled_from([("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")]),
    batch=st.booleans(),
    columns=st.booleans(),
    seed=st.integers(0, 99),
)
def test_matmul_integer(codes: tuple[str, str], batch: bool, columns: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lead = (3,) if batch else ()
    m, k, n = (int(size) for size in rng.integers(1, 20, 3))
    zeros = f"[{n}]" if columns else ""
    text = f"""f ({codes[0]}[{"3, " if batch else ""}M, K] a, {codes[1]}[{k}, {n}] b,
                  {codes[0]} az, {codes[1]}{zeros} bz) => (int32[{"B, " if batch else ""}M, N] y) {{
        y = MatMulInteger (a, b, az, bz)
    }}"""

    assert_same_bits(
        text,
        a=integers(rng, codes[0], (*lead, m, k)),
        # Machines without VNNI add pairs of products in 16 bits.
        b=integers(rng, codes[1], (k, n), at_most=60),
        az=integers(rng, codes[0], ()),
        bz=integers(rng, codes[1], (n,) if columns else (), at_most=5),
    )


@settings(max_examples=25, deadline=None)
@given(ties=st.booleans(), columns=st.booleans(), seed=st.integers(0, 99))
def test_qlinear_matmul(ties: bool, columns: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = (int(size) for size in rng.integers(1, 20, 3))
    many = f"[{n}]" if columns else ""
    shape = (n,) if columns else ()
    scales = 2.0 ** rng.integers(-7, -4, shape) if ties else rng.uniform(0.01, 0.05, shape)
    text = f"""f (uint8[{m}, {k}] a, float s, uint8 az, int8[{k}, {n}] b, float{many} bs,
                  int8{many} bz, float ys, uint8 yz) => (uint8[M, N] y) {{
        y = QLinearMatMul (a, s, az, b, bs, bz, ys, yz)
    }}"""

    assert_same_bits(
        text,
        a=integers(rng, "uint8", (m, k)),
        s=np.float32(0.03125),
        az=np.uint8(101),
        b=integers(rng, "int8", (k, n), at_most=60),
        bs=np.asarray(scales, np.float32),
        bz=np.zeros(shape, np.int8),
        ys=np.float32(0.5),
        yz=np.uint8(120),
    )


def test_zero_points_of_rows() -> None:
    rng = np.random.default_rng(2)
    a, b = integers(rng, "uint8", (3, 4)), integers(rng, "int8", (4, 2))
    zeros = np.array([0, 7, 200], np.uint8)
    text = """f (uint8[3, 4] a, int8[4, 2] b, uint8[3] az) => (int32[3, 2] y) {
        y = MatMulInteger (a, b, az)
    }"""

    found = computed(text, a=a, b=b, az=zeros)

    wanted = (a.astype(np.int64) - zeros[:, np.newaxis]) @ b.astype(np.int64)
    np.testing.assert_array_equal(found, wanted)


def test_products_beyond_53_bits_are_exact() -> None:
    a = np.array([[2**40 + 1, 1]])
    text = "f (int64[1, 2] a, int64[2, 1] b) => (int64[1, 1] y) { y = MatMul(a, b) }"

    assert (
        computed(text, a=a, b=np.array([[2**20 + 1], [1]])).item() == (2**40 + 1) * (2**20 + 1) + 1
    )


def test_sums_that_cancel_beyond_64_bits_are_exact() -> None:
    a = np.array([[2**40, -(2**40), 3]])
    text = "f (int64[1, 3] a, int64[3, 1] b) => (int64[1, 1] y) { y = MatMul(a, b) }"

    assert computed(text, a=a, b=np.array([[2**40], [2**40], [5]])).item() == 15


@pytest.mark.parametrize(
    ("size", "terms", "dtype"),
    [
        (2**26, 1, np.float64),
        (2**26, 2, np.int64),
        (2**31, 1, np.int64),
        (2**31, 2, object),
    ],
)
def test_the_type_follows_from_the_bound(size: int, terms: int, dtype: type) -> None:
    a, b = for_products(np.array([-size]), np.array([size * 2 - 1]), terms)

    assert a.dtype == b.dtype == np.dtype(dtype)


def test_floats_are_refused() -> None:
    text = "f (float[2, 2] a) => (float[2, 2] y) { [n] y = MatMul(a, a) }"

    with pytest.raises(ModelError, match=r"'n' \(MatMul\): its input 0 is float32"):
        computed(text, a=np.ones((2, 2), np.float32))
