"""Weights of linear layers as matrices: a row for each output, a column for what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    DType = TypeVar("DType", bound=np.generic)

__all__ = ["from_rows", "groups_of", "to_rows"]


def groups_of(node: ir.Node) -> int:
    """Returns the number of channel groups of a linear layer."""
    return (node.attributes.get_int("group", 1) or 1) if node.op_type == "Conv" else 1


def to_rows(node: ir.Node, weight: npt.NDArray[DType]) -> npt.NDArray[DType]:
    """Returns the weight of a Conv, Gemm or MatMul as [G, O, K].

    Args:
        node: The layer.
        weight: Of its weight's shape; MatMul's has rank 2.

    Returns:
        Groups, outputs of a group, inputs of an output: for a Conv the channels of a group times
        the taps, in this order.
    """
    first = weight.T if _transposed(node) else weight
    return np.ascontiguousarray(first).reshape(
        groups_of(node), first.shape[0] // groups_of(node), -1
    )


def from_rows(
    node: ir.Node, rows: npt.NDArray[DType], shape: tuple[int, ...]
) -> npt.NDArray[DType]:
    """Returns what :func:`to_rows` took apart, of the weight's ``shape``."""
    if _transposed(node):
        return np.ascontiguousarray(rows.reshape(shape[::-1]).T)
    return rows.reshape(shape)


def _transposed(node: ir.Node) -> bool:
    if node.op_type == "Conv":
        return False
    return node.op_type == "MatMul" or not node.attributes.get_int("transB", 0)
