"""Turns an average over the whole picture into GlobalAveragePool, which has an integer kernel."""

from __future__ import annotations

import onnx_ir as ir

from onnxq.graph.edit import new_node, take_over
from onnxq.graph.query import is_op, shape_of
from onnxq.passbase import RewritePass

__all__ = ["GlobalPoolPass"]


class GlobalPoolPass(RewritePass):
    """Replaces AveragePool by GlobalAveragePool.

    1. The spatial extent of the input is static, and the kernel covers it exactly. So there is one
       window, whatever the strides.
    2. Nothing is padded and nothing is dilated.
    """

    name = "global-pool"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every AveragePool of the main graph."""
        modified = False
        for node in model.graph:
            if is_op(node, "AveragePool"):
                modified |= self._try_replace(node)
        return ir.passes.PassResult(model, modified)

    def _try_replace(self, node: ir.Node) -> bool:
        shape = shape_of(node.inputs[0])
        kernel = tuple(node.attributes.get_ints("kernel_shape", ()) or ())
        if shape is None or None in shape[2:]:
            return self.refuse(node, "the height and width of its input are not static")
        if shape[2:] != kernel:
            return self.refuse(node, "its kernel is not as large as its input")
        automatic = node.attributes.get_string("auto_pad", "NOTSET")
        if any(node.attributes.get_ints("pads", ()) or ()) or automatic not in ("NOTSET", "VALID"):
            return self.refuse(node, "it pads")
        if any(step != 1 for step in node.attributes.get_ints("dilations", ()) or ()):
            return self.refuse(node, "it is dilated")
        self.fired(node, "replaced by GlobalAveragePool")
        pool = new_node(node, "GlobalAveragePool", [node.inputs[0]])
        take_over(node.outputs[0], pool.outputs[0])
        return True
