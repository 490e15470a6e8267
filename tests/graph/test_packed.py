from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.graph.io import load, to_bytes
from onnxq.graph.packed import constant_codes, packed_codes, stored_bits, widened_codes
from onnxq.graph.qdq import GraphEditor
from tests.passes.rewrite.building import build
from tests.support import run

if TYPE_CHECKING:
    import numpy.typing as npt


@pytest.mark.parametrize(
    ("bits", "opset", "width"),
    [(2, 21, 4), (2, 24, 4), (2, 25, 2), (3, 25, 4), (4, 21, 4), (5, 25, 8), (8, 21, 8)],
)
def test_the_narrowest_type_that_the_opset_has(bits: int, opset: int, width: int) -> None:
    assert stored_bits(bits, opset) == width


def holding(
    codes: npt.NDArray[np.int8],
    bits: int,
    opset: int,
    levels: npt.NDArray[np.int32] | None = None,
) -> tuple[ir.Model, ir.Value]:
    """A model whose output is ``codes`` as kernels read them, in int32."""
    dims = ",".join(map(str, codes.shape))
    version = {21: 10, 25: 13}[opset]
    source = build(
        f"""<ir_version: {version}, opset_import: ["": {opset}]>
            f (float[1] x) => (int32[{dims}] y) {{ y = Cast<to = 6>(x) }}"""
    )
    editor = GraphEditor(source.graph)
    value = widened_codes(editor, "w", codes, bits, levels)
    source.graph[-1].replace_input_with(0, value)
    return source, value


@given(
    hnp.arrays(np.int8, hnp.array_shapes(max_dims=4, max_side=5), elements=st.integers(-8, 7)),
    st.integers(2, 8),
    st.sampled_from([21, 25]),
)
def test_what_is_packed_comes_back(codes: npt.NDArray[np.int8], bits: int, opset: int) -> None:
    low = -(1 << (bits - 1))
    codes = np.clip(codes, low, -low - 1)
    source, _ = holding(codes, bits, opset)
    found = run(source, {"x": np.zeros(1, np.float32)}, "off")["y"]
    np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize(
    ("bits", "opset", "dtype", "stored"),
    [
        (4, 21, ir.DataType.INT4, 50),
        (3, 25, ir.DataType.INT4, 50),
        (2, 25, ir.DataType.INT2, 25),
        (2, 21, ir.DataType.INT4, 50),
        (8, 21, ir.DataType.INT8, 99),
    ],
)
def test_files_hold_packed_codes(bits: int, opset: int, dtype: ir.DataType, stored: int) -> None:
    codes = np.random.default_rng(0).integers(-2, 2, (9, 11)).astype(np.int8)
    source, value = holding(codes, bits, opset)
    assert value.dtype == ir.DataType.INT8
    weight = load(to_bytes(source)).graph.initializers["w"].const_value
    assert weight is not None
    assert weight.dtype == dtype
    assert weight.nbytes == stored
    np.testing.assert_array_equal(weight.numpy().astype(np.int8), codes)


def test_eight_bits_need_no_cast() -> None:
    source = build("f (float[1] x) => (float[1] y) { y = Relu(x) }")
    editor = GraphEditor(source.graph)
    value = widened_codes(editor, "w", np.zeros((2, 3), np.int8), 8)
    assert value.producer() is None
    assert len(source.graph) == 1


def test_unsigned_codes_get_unsigned_types() -> None:
    source = build("f (float[1] x) => (float[1] y) { y = Relu(x) }")
    value = packed_codes(GraphEditor(source.graph), "w", np.full((2, 3), 15, np.uint8), 4)
    assert value.dtype == ir.DataType.UINT4


LEVELS = np.array([-64, -31, -9, -1, 0, 2, 7, 12, 13, 14, 20, 31, 40, 50, 60, 64], np.int32)


@pytest.mark.parametrize(
    ("count", "bits", "opset", "dtype", "stored"),
    [
        (16, 4, 21, ir.DataType.UINT4, 50),
        (5, 3, 21, ir.DataType.UINT4, 50),
        (4, 2, 25, ir.DataType.UINT2, 25),
        (4, 2, 21, ir.DataType.UINT4, 50),
    ],
)
def test_levels_are_looked_up(
    count: int, bits: int, opset: int, dtype: ir.DataType, stored: int
) -> None:
    levels = LEVELS[:count]
    codes = np.random.default_rng(0).choice(levels, (9, 11)).astype(np.int8)
    source, value = holding(codes, bits, opset, levels)
    assert value.dtype == ir.DataType.INT8
    places = load(to_bytes(source)).graph.initializers["w_places"].const_value
    assert places is not None
    assert (places.dtype, places.nbytes) == (dtype, stored)
    for level in ("off", "all"):
        found = run(source, {"x": np.zeros(1, np.float32)}, level)["y"]
        np.testing.assert_array_equal(found, codes)
    np.testing.assert_array_equal(constant_codes(value), codes)


def test_where_nothing_is_packed_no_level_is_looked_up() -> None:
    codes = np.array([[-64, 64, 2]], np.int8)
    _, value = holding(codes, 5, 21, LEVELS)
    assert value.producer() is None
    np.testing.assert_array_equal(constant_codes(value), codes)


def test_computed_codes_are_not_constant() -> None:
    source = build(
        """f (int8[4] x, int8[3] t, int64[2] i) => (int8[2] y) {
            c = Cast<to = 7>(x)
            g = Gather(t, c)
            y = Gather(g, i) }""",
        t=np.arange(3, dtype=np.int8),
        i=np.zeros(2, np.int64),
    )
    assert all(constant_codes(node.outputs[0]) is None for node in source.graph)
    assert constant_codes(None) is None
