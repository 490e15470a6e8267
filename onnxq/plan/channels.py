"""Values with one scale per channel, at no cost at run time.

Integer kernels read and write with one scale s. A value whose channels have scales s_c is written
with s by folding s / s_c into the scales of the weight that produces it, and read with s by folding
s_c / s into the weights that consume it. This is cross-layer equalization (Nagel et al. 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction") in the plan alone: the
float model stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.roles import conv_kind
from onnxq.plan.spec import QParams

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = ["Writing", "common_params", "has_channels", "read_factors", "writing_of"]


class Writing(NamedTuple):
    """How a convolution writes y with one scale: QuantizeLinear(y · factor + offset).

    Attributes:
        factor: float32 [C], s / s_c.
        offset: float32 [C], (z_c - z) · s.
    """

    factor: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]


def has_channels(plan: ValuePlan | None) -> bool:
    """Returns whether ``plan`` has params for every channel."""
    return plan is not None and plan.spec.axis is not None


def common_params(channels: QParams) -> QParams:
    """Returns the one scale, a power of two, and zero point that kernels read and write with."""
    scale = np.exp2(np.rint(np.log2(channels.scale).mean()))
    zero_point = np.rint(np.median(channels.zero_point))
    return QParams(np.asarray(scale, np.float32), np.asarray(zero_point, np.int32))


def writing_of(node: ir.Node, plan: QuantPlan) -> Writing | None:
    """Returns how ``node`` writes its output; None if it does not write channels of own scales.

    The value may lie behind a Relu, which commutes with positive factors.
    """
    if node.op_type != "Conv":
        return None
    value = node.outputs[0]
    users = value.consumers()
    absorbed = len(users) == 1 and users[0].op_type == "Relu"
    if absorbed and str(value.name) not in plan.values:
        value = users[0].outputs[0]
    planned = plan.values.get(str(value.name))
    if planned is None or planned.params is None or not has_channels(planned):
        return None
    channels, common = planned.params, common_params(planned.params)
    offset = (channels.zero_point - common.zero_point) * common.scale
    return Writing(
        np.asarray(common.scale / channels.scale, np.float32), np.asarray(offset, np.float32)
    )


def read_factors(node: ir.Node, x: ValuePlan | None) -> npt.NDArray[np.float32] | None:
    """Returns what the weight of ``node`` [O, I, …] is multiplied by; None for nothing.

    Args:
        node: A convolution, dense or depthwise.
        x: Plan of its input.

    Returns:
        float32, [O, 1, …] for depthwise, [1, I, …] for dense convolutions.
    """
    if x is None or x.params is None or not has_channels(x) or node.op_type != "Conv":
        return None
    weight = node.inputs[1]
    assert weight is not None
    assert weight.shape is not None
    factor = np.asarray(x.params.scale / common_params(x.params).scale, np.float32)
    shape = [1] * len(weight.shape)
    shape[0 if conv_kind(node) == "depthwise" else 1] = -1
    return factor.reshape(shape)
