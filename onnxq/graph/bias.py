"""Adds numbers to what a linear layer computes: to its bias if it has one, or can have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import is_graph_output, is_op, weight_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.graph.qdq import GraphEditor

__all__ = ["add_to_bias", "added_bias", "takes_shift"]

_BIAS_POSITION = 2


def added_bias(product: ir.Value) -> tuple[ir.Node, int, npt.NDArray[np.float32]] | None:
    """Returns what adds a number per channel to a matrix product that nothing else reads.

    Args:
        product: What a MatMul computes; channels along its last axis.

    Returns:
        The Add, the position of the constant among its inputs, and the constant, of no higher rank
        than the product; None where there is no such Add.
    """
    uses = list(product.uses())
    if len(uses) != 1 or uses[0].node.op_type != "Add":
        return None
    add, position = uses[0].node, 1 - uses[0].idx
    values = weight_of(add.inputs[position])
    if values is None or values.size == 1 or values.size != values.shape[-1]:
        return None
    fits = product.shape is not None and values.ndim <= len(product.shape)
    return (add, position, values) if fits else None


def takes_shift(node: ir.Node) -> bool:
    """Says whether a layer has a constant bias that nothing multiplies, or can be given one."""
    if not is_op(node, "Conv", "ConvTranspose", "Gemm"):
        return False
    bias = node.inputs[_BIAS_POSITION] if len(node.inputs) > _BIAS_POSITION else None
    plain = node.attributes.get_float("beta", 1.0) == 1.0
    return plain and (bias is None or weight_of(bias) is not None)


def add_to_bias(editor: GraphEditor, node: ir.Node, shift: npt.NDArray[np.float32]) -> None:
    """Adds ``shift`` to the output channels of a Conv, ConvTranspose, Gemm or MatMul.

    It goes into the bias where that is constant or absent, for a MatMul into the constant that an
    Add behind it adds, and else into an Add of its own, under the name of what the node computed.

    Args:
        editor: Of the node's graph.
        node: The layer.
        shift: float32 [output channels].
    """
    bias = node.inputs[_BIAS_POSITION] if len(node.inputs) > _BIAS_POSITION else None
    values = weight_of(bias)
    if is_op(node, "MatMul"):
        if not _add_to_next(editor, node, shift):
            _add_behind(editor, node, shift)
        return
    if not takes_shift(node):
        _add_behind(editor, node, shift)
        return
    total = np.asarray(shift if values is None else values + shift, np.float32)
    node.resize_inputs(_BIAS_POSITION + 1)
    stem = f"{node.name}_bias" if bias is None else f"{bias.name}_shifted"
    node.replace_input_with(_BIAS_POSITION, editor.constant(stem, total))


def _add_to_next(editor: GraphEditor, node: ir.Node, shift: npt.NDArray[np.float32]) -> bool:
    uses = list(node.outputs[0].uses())
    if len(uses) != 1 or is_graph_output(node.outputs[0]) or not is_op(uses[0].node, "Add"):
        return False
    add, position = uses[0].node, 1 - uses[0].idx
    value = add.inputs[position]
    values = weight_of(value)
    if value is None or values is None or values.size != shift.size:
        return False
    if values.ndim == 0 or values.shape[-1] != shift.size:
        return False
    total = np.asarray(values + shift, np.float32)
    add.replace_input_with(position, editor.constant(f"{value.name}_shifted", total))
    return True


def _add_behind(editor: GraphEditor, node: ir.Node, shift: npt.NDArray[np.float32]) -> None:
    value, name, uses = node.outputs[0], node.outputs[0].name, list(node.outputs[0].uses())
    weight = weight_of(node.inputs[1])
    if weight is not None and is_op(node, "Conv", "ConvTranspose"):
        shift = shift.reshape(-1, *[1] * (weight.ndim - 2))
    total = editor.node(
        "Add",
        [value, editor.constant(f"{node.name}_shift", shift)],
        stem=f"{name}_shifted",
        dtype=value.dtype or ir.DataType.FLOAT,
        shape=value.shape,
        after=node,
    )
    for user, position in uses:
        user.replace_input_with(position, total)
    for position, output in enumerate(editor.graph.outputs):
        if output is value:
            editor.graph.outputs[position] = total
    value.name = editor.fresh(f"{name}_product")
    total.name = name
