"""Makes BatchNormalizations that stay share their moments, so that the file holds two vectors each.

y = γ · (x - μ) / sqrt(σ² + ε) + β is scale · x + shift (``onnxq.graph.batchnorm``): the same node
with γ' = scale, β' = shift, a mean of 0 and a variance of 1 - ε. These two are the same for all
nodes of as many channels. In networks that normalize in front of their convolutions (DenseNet) that
is what few bits leave of the file, after the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.batchnorm import read_batchnorm
from onnxq.graph.query import is_op

if TYPE_CHECKING:
    from onnxq.graph.batchnorm import BatchNorm
    from onnxq.graph.qdq import GraphEditor

__all__ = ["share_moments"]

_FEWEST = 2


def share_moments(editor: GraphEditor) -> None:
    """Rewrites the float32 BatchNormalizations of a graph of which two or more can share.

    Args:
        editor: Of the graph; constants that nobody reads any more stay until they are dropped.
    """
    alike: dict[tuple[int, float], list[tuple[ir.Node, BatchNorm]]] = {}
    for node in editor.graph:
        norm = read_batchnorm(node) if is_op(node, "BatchNormalization") else ""
        if not isinstance(norm, str) and _is_single(node) and np.isfinite(norm.shift).all():
            alike.setdefault((norm.scale.size, norm.epsilon), []).append((node, norm))
    for (channels, epsilon), nodes in alike.items():
        if len(nodes) < _FEWEST:
            continue
        mean = editor.constant(f"mean_{channels}", np.zeros(channels, np.float32))
        variance = np.full(channels, 1 - epsilon, np.float32)
        shared = editor.constant(f"variance_{channels}", variance)
        for node, norm in nodes:
            scale = editor.constant(f"{node.name}_scale", norm.scale.astype(np.float32))
            shift = editor.constant(f"{node.name}_shift", norm.shift.astype(np.float32))
            for position, value in enumerate((scale, shift, mean, shared), start=1):
                node.replace_input_with(position, value)


def _is_single(node: ir.Node) -> bool:
    return all(value.dtype == ir.DataType.FLOAT for value in node.inputs[1:5] if value is not None)
