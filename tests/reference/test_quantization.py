from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq import reference
from onnxq.errors import ModelError
from tests.reference.checking import assert_same_bits, computed, integers
from tests.support import model

CODES = ("int8", "uint8", "int16", "uint16")


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from(CODES),
    scale=st.floats(2**-12, 2**6, width=32),
    zero=st.integers(0, 127),
    seed=st.integers(0, 99),
)
def test_codes_of_floats_and_back(dtype: str, scale: float, zero: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((3, 40), np.float32) * np.float32(scale * 90)).astype(np.float32)
    x[0, :20] = np.float32(scale) * (np.arange(-10, 10, dtype=np.float32) + np.float32(0.5))
    text = f"""f (float[3, 40] x, float s, {dtype} z) => ({dtype}[3, 40] q, float[3, 40] y) {{
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }}"""

    assert_same_bits(text, x=x, s=np.float32(scale), z=np.asarray(zero, dtype))


def test_scales_along_an_axis() -> None:
    rng = np.random.default_rng(1)
    text = """f (float[2, 3, 5] x, float[3] s, int8[3] z) => (int8[2, 3, 5] q, float[2, 3, 5] y) {
        q = QuantizeLinear <axis = -2> (x, s, z)
        y = DequantizeLinear <axis = 1> (q, s, z)
    }"""

    assert_same_bits(
        text,
        x=rng.standard_normal((2, 3, 5), np.float32),
        s=np.array([0.01, 0.02, 0.5], np.float32),
        z=np.array([-3, 0, 9], np.int8),
    )


def test_scales_of_blocks() -> None:
    rng = np.random.default_rng(2)
    text = """f (int8[7, 4] q, float[3, 4] s) => (float[7, 4] y) {
        y = DequantizeLinear <axis = 0, block_size = 3> (q, s)
    }"""

    assert_same_bits(
        text, q=integers(rng, "int8", (7, 4)), s=rng.random((3, 4), np.float32) + np.float32(0.1)
    )


def test_sums_become_floats() -> None:
    x = integers(np.random.default_rng(3), "int32", (2, 30))
    text = """f (int32[2, 30] x, float[2] s) => (float[2, 30] y) {
        y = DequantizeLinear <axis = 0> (x, s)
    }"""

    assert_same_bits(text, x=x, s=np.array([0.1, 0.3], np.float32))


@pytest.mark.parametrize("dtype", CODES)
def test_the_type_of_codes_without_a_zero_point(dtype: str) -> None:
    to = int(ir.DataType[dtype.upper()])
    text = f"""f (float[9] x) => ({dtype}[9] y) {{
        s = Constant <value = float {{0.5}}> ()
        y = QuantizeLinear <output_dtype = {to}> (x, s)
    }}"""

    assert_same_bits(text, x=np.linspace(-300, 300, 9, dtype=np.float32))


def test_weights_of_four_bits_are_read() -> None:
    codes = np.arange(-8, 8).astype(ml_dtypes.int4).reshape(4, 4)
    graph = model("""f (float s) => (float[4, 4] y) <int4[4, 4] w = {0}> {
        y = DequantizeLinear (w, s)
    }""")
    graph.graph.initializers["w"].const_value = ir.Tensor(codes, name="w")

    found = assert_same_bits(graph, s=np.float32(0.25))

    assert found["y"][0].tolist() == [-2.0, -1.75, -1.5, -1.25]


@pytest.mark.parametrize("source", ["uint8", "int8", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("target", ["uint8", "int8", "int32", "uint32", "int64", "uint64"])
def test_casts_of_integers_keep_the_low_bits(source: str, target: str) -> None:
    x = integers(np.random.default_rng(4), source, (50,))
    text = f"""f ({source}[50] x) => ({target}[50] y) {{
        y = Cast <to = {int(ir.DataType[target.upper()])}> (x)
    }}"""

    assert_same_bits(text, x=x)


@pytest.mark.parametrize(("number", "codes"), [(22, [-8, 7, 0, -1]), (21, [8, 7, 0, 15])])
def test_casts_to_four_bits_keep_four(number: int, codes: list[int]) -> None:
    text = (
        f"f (int32[4] x) => (int32[4] y) {{ q = Cast <to = {number}> (x) y = Cast <to = 6> (q) }}"
    )

    found = assert_same_bits(text, x=np.array([8, 7, 16, -1], np.int32))

    assert found["y"].tolist() == codes


@pytest.mark.parametrize("target", ["int8", "uint8", "int32", "int64"])
def test_casts_of_floats_cut(target: str) -> None:
    x = np.array([0.0, 0.9, 1.5, 100.999, 3.0], np.float32)
    x = x if target.startswith("u") else np.concatenate([x, -x])
    text = f"""f (float[N] x) => ({target}[N] y, bool[N] z, float[N] w) {{
        y = Cast <to = {int(ir.DataType[target.upper()])}> (x)
        z = Cast <to = 9> (y)
        w = Cast <to = 1> (y)
    }}"""

    assert_same_bits(text, x=x)


@pytest.mark.parametrize("x", [128.0, -129.0, np.inf, np.nan])
def test_casts_of_floats_that_fit_no_code(x: float) -> None:
    text = "f (float[1] x) => (int8[1] y) { [n] y = Cast <to = 3> (x) }"

    with pytest.raises(ModelError, match=r"'n' \(Cast\)"):
        computed(text, x=np.array([x], np.float32))


def test_nan_has_no_code() -> None:
    text = "f (float[1] x, float s) => (uint8[1] y) { [n] y = QuantizeLinear (x, s) }"

    with pytest.raises(ModelError, match=r"'n' \(QuantizeLinear\): it quantizes NaN"):
        computed(text, x=np.array([np.nan], np.float32), s=np.float32(1))


def test_infinity_saturates() -> None:
    text = "f (float[2] x, float s) => (uint8[2] y) { y = QuantizeLinear (x, s) }"

    found = computed(text, x=np.array([-np.inf, np.inf], np.float32), s=np.float32(1))

    assert found.tolist() == [0, 255]


def test_half_precision_is_refused() -> None:
    text = "f (float16[1] x, float16 s) => (uint8[1] y) { [n] y = QuantizeLinear (x, s) }"

    with pytest.raises(ModelError, match=r"'n' .*float16; the reference does float32"):
        reference.run(model(text), {"x": np.ones(1, np.float16), "s": np.array(1, np.float16)})
