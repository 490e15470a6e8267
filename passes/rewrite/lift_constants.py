"""Turns Constant nodes into initializers."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from onnxq.passbase import RewritePass

__all__ = ["LiftConstants"]


class LiftConstants(RewritePass):
    """Makes each Constant node of each graph a weight of that graph; onnx-ir does the work.

    A Constant that is itself a graph output stays.
    """

    name = "lift-constants"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Lifts constants of all kinds and sizes."""
        found = [
            (node, node.outputs[0].name or "")
            for node in ir.traversal.RecursiveGraphIterator(model.graph)
            if node.op_type == "Constant" and node.domain == ""
        ]
        result = LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        for node, output in found:
            if node.graph is None:
                self.fired(output, "constant became a weight")
        return ir.passes.PassResult(model, result.modified)
