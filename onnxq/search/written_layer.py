"""What a plan makes of a layer, given to the layer's copy in the quantized model as floats."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.edit import replace_weight
from onnxq.graph.query import weight_of
from onnxq.plan.channels import writing_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.search.layer_moments import CodedLayer

    Single = npt.NDArray[np.float32]

__all__ = ["LayerFloats", "layer_floats", "takes_bias", "write_layer"]


class LayerFloats(NamedTuple):
    """A layer as the quantized model computes it.

    Attributes:
        step: What a code stands for, float32, broadcasts to the weight.
        codes: int32, the weight's shape.
        bias: float32 [outputs]; None for a layer that has none and can have none.
        bias_unit: What the bias is multiplied by, broadcasts to it.
    """

    step: Single
    codes: npt.NDArray[np.int32]
    bias: Single | None
    bias_unit: Single

    @property
    def weight(self) -> Single:
        """float32, the weight's shape."""
        return np.asarray(self.codes.astype(np.float32) * self.step, np.float32)


def takes_bias(node: ir.Node) -> bool:
    """Says whether a layer has a bias or can be given one."""
    return node.op_type in ("Conv", "ConvTranspose", "Gemm")


def layer_floats(layer: CodedLayer, plan: QuantPlan) -> LayerFloats:
    """Returns the layer's weight and bias, in the units in which it writes its output.

    Args:
        layer: A layer of the float model.
        plan: With codes and params of its weight, and its bias shift.
    """
    node = layer.node
    planned = plan.values[str(node.inputs[1].name)]  # type: ignore[union-attr]
    assert planned.params is not None
    assert planned.codes is not None
    along = [1] * layer.weight.ndim
    if planned.spec.axis is not None:
        along[planned.spec.axis] = -1
    step = np.asarray(planned.params.scale.reshape(along), np.float32)
    writing = writing_of(node, plan)
    unit = np.ones(1, np.float32) if writing is None else writing.factor
    if writing is not None:
        step = step * unit.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = None
    if takes_bias(node):
        own = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
        bias = plan.bias_shift[str(node.name)] + (0 if own is None else own.reshape(-1))
        bias = bias if writing is None else bias * unit + writing.offset
        bias = np.asarray(bias, np.float32)
    return LayerFloats(step, planned.codes, bias, unit)


def write_layer(copy: ir.Node, found: LayerFloats) -> list[str]:
    """Gives ``copy`` this weight and bias, and returns the names of the two, or of the weight."""
    names = [str(replace_weight(copy, 1, found.weight).name)]
    if found.bias is not None:
        names.append(str(replace_weight(copy, 2, found.bias, f"{copy.name}_bias").name))
    return names
