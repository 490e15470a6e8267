"""Takes out Dropout nodes, which do nothing at inference."""

from __future__ import annotations

import onnx_ir as ir

from onnxq.graph.bypass import try_bypass
from onnxq.passbase import RewritePass

__all__ = ["EliminateDropout"]


class EliminateDropout(RewritePass):
    """Removes Dropout nodes of the graph and its subgraphs.

    1. A node whose training mode is on, or computed, stays: it does drop.
    2. A node whose mask is used stays.
    3. A node that a graph boundary needs (:func:`onnxq.graph.bypass.try_bypass`) stays.
    """

    name = "eliminate-dropout"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Walks all graphs."""
        modified = False
        for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
            if node.op_type == "Dropout" and node.domain == "":
                modified |= self._try_eliminate(node)
        return ir.passes.PassResult(model, modified)

    def _try_eliminate(self, node: ir.Node) -> bool:
        if _may_train(node):
            return self.refuse(node, "its training mode is on or computed")
        if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
            return self.refuse(node, "its mask is used")
        reason = try_bypass(node)
        if reason is not None:
            return self.refuse(node, reason)
        return self.fired(node, "removed")


def _may_train(node: ir.Node) -> bool:
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    if mode is None:
        return False
    constant = ir.convenience.get_const_tensor(mode)
    return constant is None or bool(constant.numpy().any())
