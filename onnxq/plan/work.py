"""What a node's kernel does, for the cost table: its kind and its work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnxq.graph.roles import conv_kind
from onnxq.plan.cost import Work

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

__all__ = ["kernel_kind", "work_of"]

_LANES = 16
_PLANAR = 4


def kernel_kind(node: ir.Node) -> str:
    """Returns the cost table's key for ``node``."""
    if node.op_type == "Conv":
        kind = conv_kind(node)
        weight = node.inputs[1]
        assert weight is not None
        assert weight.shape is not None
        channels = weight.shape[0]
        ragged = isinstance(channels, int) and channels % _LANES != 0
        return f"{kind}-ragged" if kind == "depthwise" and ragged else kind
    if node.op_type == "Reshape" and _changes_layout(node):
        return "Transpose"
    return "matmul" if node.op_type in ("Gemm", "MatMul") else node.op_type


def _changes_layout(node: ir.Node) -> bool:
    """Whether a value of rank 4 comes from or goes to another rank: its layout must be plain."""
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or result.shape is None:
        return False
    ranks = {len(source.shape), len(result.shape)}
    return len(ranks) > 1 and _PLANAR in ranks


def work_of(node: ir.Node, shapes: Mapping[str, tuple[int, ...]]) -> Work:
    """Returns the work of one run of ``node``; nothing where a shape is unknown.

    Args:
        node: Any node.
        shapes: Value name → shape of one sample.
    """
    out = shapes.get(str(node.outputs[0].name))
    if out is None:
        return Work()
    outputs = sum(math.prod(shapes.get(str(value.name), (0,))) for value in node.outputs)
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    shape = weight.shape if weight is not None else None
    kernel = tuple(d for d in shape or () if isinstance(d, int))
    first = shapes.get(str(node.inputs[0].name)) if node.inputs and node.inputs[0] else None
    if node.op_type == "Conv" and len(kernel) > 2:
        taps = math.prod(kernel[2:])
        macs = outputs * kernel[1] * taps
        channels = first[1] if first is not None else 0
        gathers = taps > 1
        return Work(macs, outputs, outputs / out[1] * channels * taps if gathers else 0.0)
    if node.op_type in ("Gemm", "MatMul") and first is not None:
        right = shapes.get(str(weight.name), kernel) if weight is not None else kernel
        return Work(outputs * first[-1], outputs, float(math.prod(right)))
    return Work(0.0, outputs, float(math.prod(first)) if first is not None else 0.0)
