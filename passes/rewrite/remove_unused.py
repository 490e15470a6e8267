"""Removes what no output depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RemoveUnused"]


class RemoveUnused(RewritePass):
    """Removes nodes, weights and operator sets that nothing uses; graph inputs stay.

    1. Nodes and weights of the main graph: onnx-ir does the work.
    2. Weights of subgraphs, which onnx-ir leaves.
    3. Operator sets of domains that no node is from.
    """

    name = "remove-unused"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Removes in the order of the rules."""
        before = {
            node: node.outputs[0].name or ""
            for node in ir.traversal.RecursiveGraphIterator(model.graph)
        }
        size = _size(before)
        modified = RemoveUnusedNodesPass()(model).modified
        left = set(ir.traversal.RecursiveGraphIterator(model.graph))
        for node, output in before.items():
            if node not in left:
                self.fired(node.name or output, "nothing uses it")
        if not modified:
            # onnx-ir also cuts optional inputs, outputs and attributes without saying so.
            modified = size != _size(before)
        modified |= self._remove_weights(model)
        modified |= RemoveUnusedOpsetsPass()(model).modified
        return ir.passes.PassResult(model, modified)

    def _remove_weights(self, model: ir.Model) -> bool:
        """Rule 2."""
        modified = False
        for graph in list(model.graphs()):
            for name, value in list(graph.initializers.items()):
                if not (value.uses() or value.is_graph_input() or value.is_graph_output()):
                    graph.initializers.pop(name)
                    modified |= self.fired(name, "nothing uses it")
        return modified


def _size(nodes: Iterable[ir.Node]) -> int:
    return sum(len(node.outputs) + len(node.inputs) + len(node.attributes) for node in nodes)
