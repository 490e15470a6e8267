"""Folds Mul, Div, Add and Sub by constants into the linear layer next to them.

Each is y = scale · x + shift with a scale and a shift per channel, which a linear layer absorbs
(:mod:`onnxq.graph.linear`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.graph.affine import affine_input, read_affine
from onnxq.graph.edit import remove_node, take_over
from onnxq.graph.linear import LinearLayer, linear_layer
from onnxq.graph.prior import carry_prior
from onnxq.graph.query import heavy, is_graph_output, is_op, only_use, shape_of, weight_of
from onnxq.passbase import RewritePass, node_label

if TYPE_CHECKING:
    from onnxq.graph.affine import Affine
    from onnxq.graph.prior import Prior

__all__ = ["FoldAffinePass"]


class FoldAffinePass(RewritePass):
    """Folds constant Mul, Div, Add and Sub into a neighbouring linear layer.

    1. The constant is float, finite, and no divisor is zero; x is not the divisor.
    2. The constant holds one number, or one per channel along the layer's channel axis, and does
       not widen the shape (numpy broadcasting).
    3. Behind a layer, where nobody else reads the layer's output, it is folded.
    4. In front of a layer, where nobody else reads it and it is no graph output, it is folded; a
       shift only where the layer does not pad with zeros.
    5. A MatMul takes a shift only at rank 2, where it becomes a Gemm.
    6. Gemm's alpha and beta are folded into its constant weight and bias.

    Args:
        prior: What is known of values; entries of folded ones are carried over to the value that
            replaces them.
    """

    name = "fold-affine"

    def __init__(self, prior: Prior | None = None) -> None:
        super().__init__()
        self.prior = prior

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every Mul, Div, Add, Sub and Gemm of the main graph."""
        modified = False
        for node in model.graph:
            if is_op(node, "Mul", "Div", "Add", "Sub"):
                modified |= self._try_fold(node)
            elif is_op(node, "Gemm"):
                modified |= self._try_fold_alpha(node)
        return ir.passes.PassResult(model, modified)

    def _try_fold(self, node: ir.Node) -> bool:
        data = affine_input(node)
        if data is None:
            return False
        producer = data.producer()
        behind = producer if producer is not None and heavy(producer) else None
        use = only_use(node.outputs[0])
        in_front = use.node if use is not None and use.position == 0 and heavy(use.node) else None
        neighbour = behind or in_front
        if neighbour is None:
            return False
        layer = linear_layer(neighbour)
        if isinstance(layer, str):
            return self.refuse(node, layer)
        channels = layer.out_channels if behind else layer.in_channels
        from_end = -1 if layer.channel_axis == -1 else 1 - (layer.rank or 2)
        affine = read_affine(node, channels, layer.rank or 1, from_end)
        if isinstance(affine, str):
            return self.refuse(node, affine)
        if not behind and _may_widen(node, data, layer):
            return self.refuse(node, "its constant may widen the shape of its input")
        return (self._try_fold_behind if behind else self._try_fold_in_front)(node, layer, affine)

    def _try_fold_behind(self, node: ir.Node, layer: LinearLayer, affine: Affine) -> bool:
        """Rules 3 and 5: s·L(x) + t."""
        output = layer.node.outputs[0]
        if is_graph_output(output) or len(output.uses()) != 1:
            return self.refuse(
                node, f"the output of {node_label(layer.node)} is also read elsewhere"
            )
        bias = None if layer.bias is None else layer.bias * affine.scale
        if affine.shift.any():
            bias = affine.shift if bias is None else bias + affine.shift
        problem = layer.write(layer.scaled_outputs(affine.scale), bias)
        if problem is not None:
            return self.refuse(node, problem)
        self.fired(node, f"folded into {layer.kind} '{node_label(layer.node)}' in front of it")
        carry_prior(self.prior, output.name, node.outputs[0].name, affine)
        take_over(node.outputs[0], output)
        return True

    def _try_fold_in_front(self, node: ir.Node, layer: LinearLayer, affine: Affine) -> bool:
        """Rules 4 and 5: L(s·x + t)."""
        bias = layer.bias
        if affine.shift.any():
            if layer.padded:
                reason = f"{node_label(layer.node)} pads with zeros, which are not shifted"
                return self.refuse(node, reason)
            response = layer.response(affine.shift)
            bias = response if bias is None else bias + response
        problem = layer.write(layer.scaled_inputs(affine.scale), bias)
        if problem is not None:
            return self.refuse(node, problem)
        self.fired(node, f"folded into {layer.kind} '{node_label(layer.node)}' behind it")
        layer.node.replace_input_with(0, affine_input(node))
        remove_node(node)
        return True

    def _try_fold_alpha(self, node: ir.Node) -> bool:
        """Rule 6."""
        factors = (node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0))
        if factors == (1.0, 1.0):
            return False
        layer = linear_layer(node)
        problem = layer if isinstance(layer, str) else layer.write(layer.weight, layer.bias)
        if problem is not None:
            return self.refuse(node, problem)
        return self.fired(node, "alpha and beta folded into weight and bias")


def _may_widen(node: ir.Node, x: ir.Value, layer: LinearLayer) -> bool:
    """Rule 2 in front of a layer, where the layer does not fix the shape of ``x``."""
    constant = weight_of(node.inputs[1 if node.inputs[0] is x else 0])
    shape = shape_of(x)
    if constant is None or constant.ndim == 0:
        return constant is None
    if shape is None or constant.ndim > len(shape) or layer.rank not in (None, len(shape)):
        return True
    return constant.size > 1 and shape[layer.channel_axis] != layer.in_channels
