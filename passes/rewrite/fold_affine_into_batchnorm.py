"""Folds Mul, Div, Add and Sub by constants into the BatchNormalization in front of them.

s · (γ · n + β) + t = (s · γ) · n + (s · β + t), with n the normalized input. Caffe writes every
normalization as such a pair of layers. Where no linear layer takes the normalization in, this
leaves one node of three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.graph.affine import affine_input, read_affine
from onnxq.graph.edit import replace_weight, take_over
from onnxq.graph.prior import carry_prior
from onnxq.graph.query import is_op, only_use, shape_of, weight_of
from onnxq.passbase import RewritePass, node_label

if TYPE_CHECKING:
    from onnxq.graph.prior import Prior

__all__ = ["FoldAffineIntoBatchnormPass"]


class FoldAffineIntoBatchnormPass(RewritePass):
    """Folds constant Mul, Div, Add and Sub into the BatchNormalization in front.

    1. The BatchNormalization is in inference mode, has one output, and a constant float scale and
       bias; its rank is known.
    2. Nobody else reads its output and that is no graph output.
    3. The constant holds one finite number, or one per channel, does not widen the shape, and no
       divisor is zero.

    Args:
        prior: What is known of values; entries of folded ones are carried over to the value that
            replaces them.
    """

    name = "fold-affine-into-batchnorm"

    def __init__(self, prior: Prior | None = None) -> None:
        super().__init__()
        self.prior = prior

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every Mul, Div, Add and Sub behind a BatchNormalization of the main graph."""
        modified = False
        for node in model.graph:
            data = affine_input(node)
            producer = None if data is None else data.producer()
            if producer is not None and is_op(producer, "BatchNormalization"):
                modified |= self._try_fold(node, producer)
        return ir.passes.PassResult(model, modified)

    def _try_fold(self, node: ir.Node, norm: ir.Node) -> bool:
        gamma, beta = (weight_of(value) for value in norm.inputs[1:3])
        shape = shape_of(norm.inputs[0])
        if gamma is None or beta is None or gamma.dtype.kind != "f" or shape is None:
            return self.refuse(node, "scale, bias or rank of the BatchNormalization is not known")
        if norm.attributes.get_int("training_mode", 0) == 1 or len(norm.outputs) > 1:
            return self.refuse(node, "the BatchNormalization is in training mode")
        if only_use(norm.outputs[0]) is None:
            return self.refuse(node, f"the output of {node_label(norm)} is also read elsewhere")
        affine = read_affine(node, gamma.size, len(shape), 1 - len(shape))
        if isinstance(affine, str):
            return self.refuse(node, affine)
        self.fired(node, f"folded into BatchNormalization '{node_label(norm)}' in front of it")
        scaled = gamma * affine.scale, beta * affine.scale + affine.shift
        for index, array in enumerate(scaled, start=1):
            replace_weight(norm, index, array.astype(gamma.dtype))
        carry_prior(self.prior, norm.outputs[0].name, node.outputs[0].name, affine)
        take_over(node.outputs[0], norm.outputs[0])
        return True
