"""The rules that one QuantizeLinear or DequantizeLinear node keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

__all__ = ["violations_of_qdq_node"]

_QUANTIZED = frozenset(
    {
        ir.DataType.INT2,
        ir.DataType.UINT2,
        ir.DataType.INT4,
        ir.DataType.UINT4,
        ir.DataType.INT8,
        ir.DataType.UINT8,
        ir.DataType.INT16,
        ir.DataType.UINT16,
        ir.DataType.INT32,
    }
)


def violations_of_qdq_node(node: ir.Node) -> list[str]:
    """Lists what is wrong with one node, each in one line that names it.

    1. It has data to work on.
    2. Its scale is constant, finite and positive.
    3. Its zero point, if there is one, is constant, has the shape of the scale and the type of the
       codes; for int32 codes (biases) it is 0.
    4. The codes are integers of 2, 4, 8, 16 or (dequantizing only) 32 bits.
    5. A scale of one axis has as many elements as the axis, which exists; a scale of blocks has the
       rank of the data and as many elements on its axis as there are blocks.
    """
    if not node.inputs or node.inputs[0] is None:
        return [f"node '{node.name}' has no data"]
    scale = _constant(node, 1)
    if scale is None:
        return [f"node '{node.name}' has no constant scale"]
    found = [*_scale(scale.numpy()), *_zero_point(node, scale), *_axis(node, scale)]
    return [f"node '{node.name}' {text}" for text in found]


def _constant(node: ir.Node, index: int) -> ir.TensorProtocol | None:
    value = _input(node, index)
    return None if value is None else ir.convenience.get_const_tensor(value)


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _scale(scale: npt.NDArray[np.floating]) -> Iterator[str]:
    numbers = scale.astype(np.float64)
    if not (np.isfinite(numbers).all() and (numbers > 0).all()):
        yield "has a scale that is not finite and positive"


def _zero_point(node: ir.Node, scale: ir.TensorProtocol) -> Iterator[str]:
    dequantizes = node.op_type == "DequantizeLinear"
    codes = node.inputs[0].dtype if dequantizes and node.inputs[0] else node.outputs[0].dtype
    if codes is not None and (
        codes not in _QUANTIZED or (codes == ir.DataType.INT32 and not dequantizes)
    ):
        yield f"has codes of type {codes}"
    value = _input(node, 2)
    if value is None:
        return
    zero_point = ir.convenience.get_const_tensor(value)
    if zero_point is None:
        yield "has a zero point that is not constant"
        return
    if zero_point.shape.numpy() != scale.shape.numpy():
        yield f"has a zero point of shape {zero_point.shape} beside a scale of {scale.shape}"
    if codes is not None and zero_point.dtype != codes:
        yield f"has a zero point of type {zero_point.dtype} for codes of type {codes}"
    if zero_point.dtype == ir.DataType.INT32 and zero_point.numpy().any():
        yield "has a zero point other than 0 for int32 codes"


def _axis(node: ir.Node, scale: ir.TensorProtocol) -> Iterator[str]:
    data = node.inputs[0]
    shape = None if data is None else data.shape
    dims = scale.shape.numpy()
    if not dims or shape is None:
        return
    axis = node.attributes.get_int("axis", 1)
    block = node.attributes.get_int("block_size", 0)
    if len(dims) > 1 and not block:
        yield f"has a scale of rank {len(dims)} without a block size"
    elif block and len(dims) != len(shape):
        yield f"has a scale of rank {len(dims)} for blocks of data of rank {len(shape)}"
    elif dims == (1,) and not block:
        return
    elif not -len(shape) <= axis < len(shape):
        yield f"has axis {axis} for data of rank {len(shape)}"
    elif isinstance(size := shape[axis], int):
        expected = -(-size // block) if block else size
        given = dims[axis] if block else dims[0]
        if given != expected:
            yield f"has {given} scales on axis {axis}, where the data asks for {expected}"
