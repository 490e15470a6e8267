"""Turns the mean over height and width into GlobalAveragePool, which has an integer kernel."""

from __future__ import annotations

import onnx_ir as ir

from onnxq.graph.edit import new_node, take_over
from onnxq.graph.query import is_op, shape_of, weight_of
from onnxq.passbase import RewritePass

__all__ = ["ReduceMeanToPoolPass"]


class ReduceMeanToPoolPass(RewritePass):
    """Replaces ReduceMean over axes 2 and 3 by GlobalAveragePool.

    1. The input is known to have rank 4 and to be float.
    2. The axes are constant and are exactly 2 and 3, in any order and either sign.
    3. With ``keepdims`` 0, Flatten follows, which gives [N, C].
    """

    name = "reduce-mean-to-pool"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every ReduceMean of the main graph."""
        modified = False
        for node in model.graph:
            if is_op(node, "ReduceMean"):
                modified |= self._try_replace(node)
        return ir.passes.PassResult(model, modified)

    def _try_replace(self, node: ir.Node) -> bool:
        x = node.inputs[0]
        shape = shape_of(x)
        if x is None or shape is None or len(shape) != 4:
            return self.refuse(node, "its input is not known to have rank 4")
        if x.dtype is None or not x.dtype.is_floating_point():
            return self.refuse(node, "its input is not known to be float")
        axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
        if axes is None or sorted(int(axis) % 4 for axis in axes.reshape(-1)) != [2, 3]:
            return self.refuse(node, "its axes are not the constants 2 and 3")
        self.fired(node, "replaced by GlobalAveragePool")
        pool = new_node(node, "GlobalAveragePool", [x])
        pool.outputs[0].shape = ir.Shape([*x.shape[:2], 1, 1] if x.shape is not None else [])
        last = pool
        if not node.attributes.get_int("keepdims", 1):
            last = new_node(node, "Flatten", [pool.outputs[0]], {"axis": 1})
        take_over(node.outputs[0], last.outputs[0])
        return True
