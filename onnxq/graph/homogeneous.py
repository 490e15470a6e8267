"""Nodes that a positive factor on a channel passes unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.channel_classes import is_spatial
from onnxq.graph.query import is_op, scalar_of, shape_of, weight_of

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["is_homogeneous"]

_ELEMENTWISE = ("Identity", "Relu", "LeakyRelu", "Neg", "Abs")
_REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum")


def is_homogeneous(node: ir.Node) -> bool:
    """Says whether ``node`` works inside each channel, and f(s · x) = s · f(x) for s > 0."""
    if is_op(node, *_ELEMENTWISE):
        return True
    if is_op(node, "Clip"):
        low = scalar_of(node.inputs[1]) if len(node.inputs) > 1 else None
        return low == 0.0 and (len(node.inputs) < 3 or node.inputs[2] is None)
    if is_op(node, "PRelu"):
        return weight_of(node.inputs[1]) is not None
    if is_op(node, "Pad"):
        filled = len(node.inputs) > 2 and node.inputs[2] is not None
        return is_spatial(node) and (not filled or scalar_of(node.inputs[2]) == 0.0)
    if is_op(node, *_REDUCTIONS):
        shape = shape_of(node.inputs[0])
        axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
        return shape is not None and axes is not None and bool((axes % len(shape) > 1).all())
    return is_spatial(node)
