"""How much each weight of a layer matters, by what it is multiplied with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.roles import attribute, conv_kind

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.statistics import ValueStats

__all__ = ["weight_importance"]


def weight_importance(
    node: ir.Node, seen: ValueStats | None, rank: int | None
) -> npt.NDArray[np.float32] | None:
    """Returns E[x_c²] of the input channel c that each weight multiplies.

    Args:
        node: A Conv, Gemm or MatMul.
        seen: Statistics of its input; None without data.
        rank: Of its input, None if unknown.

    Returns:
        float32, of a shape that broadcasts to the weight's; None where nothing is known of the
        channels, or where it is the same for all weights of an output channel.
    """
    weight = node.inputs[1]
    if seen is None or seen.channels is None or weight is None or weight.shape is None:
        return None
    power = np.asarray(seen.channels.second_moment, np.float32)
    dims = weight.shape.numpy()
    if node.op_type == "Conv":
        if seen.channel_axis != 1 or conv_kind(node) == "depthwise":
            return None
        groups = int(attribute(node, "group", 1))
        if power.size != dims[1] * groups:
            return None
        by_output = np.repeat(power.reshape(groups, -1), dims[0] // groups, axis=0)
        return by_output.reshape(dims[0], dims[1], *[1] * (len(dims) - 2))
    axis = len(dims) - 2
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        axis = 1
    if rank is None or seen.channel_axis != rank - 1 or power.size != dims[axis]:
        return None
    return power if axis == len(dims) - 1 else power[:, np.newaxis]
