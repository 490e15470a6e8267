"""Folds BatchNormalization into the linear layer in front of it or behind it.

In inference, a BatchNormalization with moments μ, σ² and parameters γ, β computes::

    y = scale · x + shift        scale = γ / sqrt(σ² + ε),  shift = β - μ · scale

per channel, which a linear layer absorbs (:mod:`onnxq.graph.linear`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.batchnorm import BatchNorm, read_batchnorm
from onnxq.graph.edit import remove_node, take_over
from onnxq.graph.linear import LinearLayer, linear_layer
from onnxq.graph.query import heavy, is_graph_output, is_op, only_use, shape_of
from onnxq.passbase import RewritePass, node_label

if TYPE_CHECKING:
    from onnxq.graph.prior import Prior

__all__ = ["FoldBatchnormPass"]


class FoldBatchnormPass(RewritePass):
    """Folds BatchNormalization into a neighbouring linear layer.

    1. A node in training mode, with further outputs in use, or with parameters that are not
       constant float stays.
    2. Behind a Conv, ConvTranspose, Gemm or MatMul whose output nobody else reads, it is folded
       into that layer's weight and bias.
    3. In front of such a layer, where nobody else reads it and it is no graph output, it is folded
       into that layer; if the layer pads with zeros, only where every shift is zero.
    4. Behind or in front of Gemm and MatMul, only at rank 2, where axis 1 is the last one.
    5. Where rule 2 and 3 do not apply, it stays.

    The moments it knows of are handed on before they vanish.

    Args:
        prior: Filled with (β, |γ|·σ/sqrt(σ² + ε)) for the output of every BatchNormalization and
            (μ, σ) for its input.
    """

    name = "fold-batchnorm"

    def __init__(self, prior: Prior | None = None) -> None:
        super().__init__()
        self.prior = prior

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every BatchNormalization of the main graph."""
        modified = False
        for node in model.graph:
            if is_op(node, "BatchNormalization"):
                modified |= self._try_fold(node)
        return ir.passes.PassResult(model, modified)

    def _try_fold(self, node: ir.Node) -> bool:
        norm = read_batchnorm(node)
        if isinstance(norm, str):
            return self.refuse(node, norm)
        self._remember(node, norm)
        x = node.inputs[0]
        assert x is not None
        producer = x.producer()
        if producer is not None and heavy(producer):
            return self._try_fold_behind(node, producer, norm)
        use = only_use(node.outputs[0])
        if use is not None and use.position == 0 and heavy(use.node):
            return self._try_fold_in_front(node, use.node, norm)
        return self.refuse(node, "no linear layer with constant weight next to it")

    def _try_fold_behind(self, node: ir.Node, producer: ir.Node, norm: BatchNorm) -> bool:
        """Rules 2 and 4: s·L(x) + t."""
        layer = self._layer(node, producer)
        if layer is None:
            return False
        output = producer.outputs[0]
        if is_graph_output(output) or len(output.uses()) != 1:
            return self.refuse(node, f"the output of {node_label(producer)} is also read elsewhere")
        bias = norm.shift if layer.bias is None else layer.bias * norm.scale + norm.shift
        problem = layer.write(layer.scaled_outputs(norm.scale), bias)
        if problem is not None:
            return self.refuse(node, problem)
        self.fired(node, f"folded into {producer.op_type} '{node_label(producer)}' in front of it")
        take_over(node.outputs[0], output)
        return True

    def _try_fold_in_front(self, node: ir.Node, consumer: ir.Node, norm: BatchNorm) -> bool:
        """Rules 3 and 4: L(s·x + t)."""
        layer = self._layer(node, consumer)
        if layer is None:
            return False
        bias = layer.bias
        if norm.shift.any():
            if layer.padded:
                return self.refuse(
                    node, f"{node_label(consumer)} pads with zeros, which are not shifted"
                )
            response = layer.response(norm.shift)
            bias = response if bias is None else bias + response
        problem = layer.write(layer.scaled_inputs(norm.scale), bias)
        if problem is not None:
            return self.refuse(node, problem)
        self.fired(node, f"folded into {consumer.op_type} '{node_label(consumer)}' behind it")
        consumer.replace_input_with(0, node.inputs[0])
        remove_node(node)
        return True

    def _layer(self, node: ir.Node, neighbour: ir.Node) -> LinearLayer | None:
        layer = linear_layer(neighbour)
        if isinstance(layer, str):
            self.refuse(node, layer)
            return None
        if layer.channel_axis != 1 and len(shape_of(node.inputs[0]) or ()) != 2:
            self.refuse(node, f"{node_label(neighbour)} is not known to have rank 2")
            return None
        return layer

    def _remember(self, node: ir.Node, norm: BatchNorm) -> None:
        if self.prior is None:
            return
        places = (
            (node.inputs[0], norm.mean, norm.deviation),
            (node.outputs[0], norm.beta, norm.spread),
        )
        for value, mean, deviation in places:
            if value is not None and value.name:
                self.prior[value.name] = mean.astype(np.float32), deviation.astype(np.float32)
