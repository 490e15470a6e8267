"""BatchNormalization in inference: y = scale · x + shift per channel, with constant parameters.

With moments μ, σ² and parameters γ, β: scale = γ / sqrt(σ² + ε), shift = β - μ · scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.query import is_graph_output, weight_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[np.float64]

__all__ = ["BatchNorm", "read_batchnorm"]


class BatchNorm(NamedTuple):
    """What a BatchNormalization computes and knows; all arrays float64 [channels]."""

    scale: Array
    shift: Array
    mean: Array
    deviation: Array
    beta: Array
    spread: Array
    epsilon: float


def read_batchnorm(node: ir.Node) -> BatchNorm | str:
    """Reads a BatchNormalization.

    Returns:
        Its arrays, or the reason why they cannot be used: it is in training mode, has further
        outputs in use, parameters that are not constant float, or divides by nothing.
    """
    if node.attributes.get_int("training_mode", 0):
        return "it is in training mode"
    if any(value.uses() or is_graph_output(value) for value in node.outputs[1:]):
        return "its further outputs are in use"
    arrays = [weight_of(value) for value in node.inputs[1:5]]
    constants = [array.astype(np.float64) for array in arrays if array is not None]
    if len(constants) != 4 or any(a is not None and a.dtype.kind != "f" for a in arrays):
        return "its parameters are not all constant"
    gamma, beta, mean, variance = constants
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    inverse = 1.0 / np.sqrt(variance + epsilon)
    if not np.isfinite(inverse).all():
        return "a variance plus epsilon is not positive"
    scale, deviation = gamma * inverse, np.sqrt(np.maximum(variance, 0.0))
    spread = np.abs(scale) * deviation
    return BatchNorm(scale, beta - mean * scale, mean, deviation, beta, spread, epsilon)
