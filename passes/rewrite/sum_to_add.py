"""Turns Sum into Add, which has an integer kernel."""

from __future__ import annotations

import onnx_ir as ir

from onnxq.graph.bypass import try_bypass
from onnxq.graph.edit import new_node, take_over
from onnxq.graph.query import is_op
from onnxq.passbase import RewritePass

__all__ = ["SumToAddPass"]


class SumToAddPass(RewritePass):
    """Replaces Sum, as exports of Caffe2 and MXNet write a residual, by Add.

    1. A Sum of two values becomes one Add, of more a chain of them from the first value on, which
       is the order that Sum is defined by.
    2. A Sum of one value is that value, where no graph boundary needs the node.
    """

    name = "sum-to-add"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every Sum of the main graph."""
        modified = False
        for node in model.graph:
            if is_op(node, "Sum"):
                modified |= self._try_replace(node)
        return ir.passes.PassResult(model, modified)

    def _try_replace(self, node: ir.Node) -> bool:
        if len(node.inputs) == 1:
            reason = try_bypass(node)
            return self.refuse(node, reason) if reason else self.fired(node, "removed")
        self.fired(node, "replaced by Add")
        total = node.inputs[0]
        for term in node.inputs[1:]:
            total = new_node(node, "Add", [total, term]).outputs[0]
        assert total is not None
        take_over(node.outputs[0], total)
        return True
