"""What a plan makes of a layer, given to the layer's copy in the quantized model as floats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.edit import replace_weight
from onnxq.graph.query import weight_of
from onnxq.graph.weight_rows import to_rows
from onnxq.plan.channels import writing_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.search.coded_layer import CodedLayer

    Single = npt.NDArray[np.float32]

__all__ = ["LayerFloats", "WrittenNames", "layer_floats", "takes_bias", "write_layer"]


class LayerFloats(NamedTuple):
    """A layer as the quantized model computes it.

    Attributes:
        codes: int32, the weight's shape.
        scale: float32, broadcasts to the weight.
        factor: float32 [outputs] or [1]; what the layer's output is multiplied by.
        bias: float32 [outputs]; None for a layer that has none and can have none.
    """

    codes: npt.NDArray[np.int32]
    scale: Single
    factor: Single
    bias: Single | None

    @property
    def step(self) -> Single:
        """What a code stands for, float32, broadcasts to the weight."""
        if self.factor.size == 1:
            return self.scale * self.factor.reshape(())
        return self.scale * self.factor.reshape(-1, *[1] * (self.codes.ndim - 1))

    @property
    def weight(self) -> Single:
        """float32, the weight's shape."""
        return np.asarray(self.codes.astype(np.float32) * self.step, np.float32)


class WrittenNames(NamedTuple):
    """Names of initializers.

    Attributes:
        weight: That of the weight.
        bias: That of the bias; None where there is none.
    """

    weight: str
    bias: str | None


def takes_bias(node: ir.Node) -> bool:
    """Says whether a layer has a bias or can be given one."""
    return node.op_type in ("Conv", "ConvTranspose", "Gemm")


def layer_floats(layer: CodedLayer, plan: QuantPlan) -> LayerFloats:
    """Returns the layer's weight and bias, in the units in which it writes its output.

    Args:
        layer: A layer of the float model.
        plan: With codes and params of its weight.
    """
    node = layer.node
    planned = layer.weight_in(plan)
    assert planned.params is not None
    assert planned.codes is not None
    along = [1] * layer.weight.ndim
    if planned.spec.axis is not None:
        along[planned.spec.axis] = -1
    scale = np.asarray(planned.params.scale.reshape(along), np.float32)
    writing = None if layer.real else writing_of(node, plan)
    factor = np.ones(1, np.float32) if writing is None else writing.factor
    bias = None
    if takes_bias(node):
        own = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
        total = plan.bias_shift.get(str(node.name), np.float32(0)) + (
            0 if own is None else own.reshape(-1)
        )
        offset = 0 if writing is None else writing.offset
        outputs = to_rows(node, layer.weight).shape[:2]
        bias = np.asarray(total * factor + offset, np.float32)
        bias = np.broadcast_to(bias, math.prod(outputs))
    return LayerFloats(planned.codes, scale, factor, bias)


def write_layer(copy: ir.Node, found: LayerFloats) -> WrittenNames:
    """Gives ``copy`` this weight and bias, and returns what they are called."""
    weight = replace_weight(copy, 1, found.weight)
    if found.bias is None:
        return WrittenNames(str(weight.name), None)
    bias = replace_weight(copy, 2, found.bias, f"{copy.name}_bias")
    return WrittenNames(str(weight.name), str(bias.name))
