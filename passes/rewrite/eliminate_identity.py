"""Takes out Identity nodes."""

from __future__ import annotations

import onnx_ir as ir

from onnxq.graph.bypass import try_bypass
from onnxq.passbase import RewritePass

__all__ = ["EliminateIdentity"]


class EliminateIdentity(RewritePass):
    """Removes each Identity node of the graph and its subgraphs, where no graph boundary needs it.

    The boundary rules are those of :func:`onnxq.graph.bypass.try_bypass`.
    """

    name = "eliminate-identity"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Walks all graphs."""
        modified = False
        for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
            if node.op_type == "Identity" and node.domain == "":
                modified |= self._try_eliminate(node)
        return ir.passes.PassResult(model, modified)

    def _try_eliminate(self, node: ir.Node) -> bool:
        reason = try_bypass(node)
        if reason is not None:
            return self.refuse(node, reason)
        return self.fired(node, "removed")
