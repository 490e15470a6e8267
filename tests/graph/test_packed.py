from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.graph.io import load, to_bytes
from onnxq.graph.packed import packed_codes, stored_bits, widened_codes
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


def holding(codes: npt.NDArray[np.int8], bits: int, opset: int) -> tuple[ir.Model, ir.Value]:
    """A model whose output is ``codes`` as kernels read them, in int32."""
    dims = ",".join(map(str, codes.shape))
    version = {21: 10, 25: 13}[opset]
    source = build(
        f"""<ir_version: {version}, opset_import: ["": {opset}]>
            f (float[1] x) => (int32[{dims}] y) {{ y = Cast<to = 6>(x) }}"""
    )
    editor = GraphEditor(source.graph)
    value = widened_codes(editor, "w", codes, bits)
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
