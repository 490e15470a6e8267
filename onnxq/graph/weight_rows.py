"""Weights of linear layers as matrices: a row for each output, a column for what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    DType = TypeVar("DType", bound=np.generic)

__all__ = ["from_rows", "groups_of", "groups_share_scales", "outputs_first", "to_rows"]

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def groups_of(node: ir.Node) -> int:
    """Returns the number of channel groups of a linear layer."""
    if node.op_type not in _CONVOLUTIONS:
        return 1
    return node.attributes.get_int("group", 1) or 1


def groups_share_scales(node: ir.Node) -> bool:
    """Says whether a scale per index of the channels' axis serves an output of every group."""
    return node.op_type == "ConvTranspose" and groups_of(node) > 1


def outputs_first(node: ir.Node, weight: npt.NDArray[DType]) -> npt.NDArray[DType]:
    """Returns the weight of a linear layer as a Conv has it: [outputs, inputs of an output, taps…].

    Args:
        node: The layer.
        weight: Of its weight's shape; MatMul's has rank 2.
    """
    if node.op_type == "ConvTranspose":
        group, (inputs, outputs, *taps) = groups_of(node), weight.shape
        parts = weight.reshape(group, inputs // group, outputs, *taps).swapaxes(1, 2)
        return parts.reshape(group * outputs, inputs // group, *taps)
    return weight.T if _transposed(node) else weight


def to_rows(node: ir.Node, weight: npt.NDArray[DType]) -> npt.NDArray[DType]:
    """Returns the weight of a linear layer as [G, O, K].

    Args:
        node: The layer.
        weight: As for :func:`outputs_first`.

    Returns:
        Groups, outputs of a group, inputs of an output: for convolutions the channels of a group
        times the taps, in this order.
    """
    first = np.ascontiguousarray(outputs_first(node, weight))
    return first.reshape(groups_of(node), first.shape[0] // groups_of(node), -1)


def from_rows(
    node: ir.Node, rows: npt.NDArray[DType], shape: tuple[int, ...]
) -> npt.NDArray[DType]:
    """Returns what :func:`to_rows` took apart, of the weight's ``shape``."""
    if node.op_type == "ConvTranspose":
        parts = rows.reshape(*rows.shape[:2], shape[0] // len(rows), *shape[2:])
        return np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(shape)
    if _transposed(node):
        return np.ascontiguousarray(rows.reshape(shape[::-1]).T)
    return rows.reshape(shape)


def _transposed(node: ir.Node) -> bool:
    if node.op_type in _CONVOLUTIONS:
        return False
    return node.op_type == "MatMul" or not node.attributes.get_int("transB", 0)
