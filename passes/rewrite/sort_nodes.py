"""Puts the nodes into an order in which each comes after those it reads from."""

from __future__ import annotations

import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.passbase import RewritePass

__all__ = ["SortNodes"]


class SortNodes(RewritePass):
    """Sorts each graph topologically; an order that is right already stays.

    Raises:
        ModelError: The graph has a cycle.
    """

    name = "sort-nodes"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Sorts if needed."""
        before = list(ir.traversal.RecursiveGraphIterator(model.graph))
        try:
            model.graph.sort()
        except ValueError:
            raise ModelError("the graph has a cycle; export the model again") from None
        after = list(ir.traversal.RecursiveGraphIterator(model.graph))
        moved = [new for old, new in zip(before, after, strict=True) if old is not new]
        if moved:
            self.fired(moved[0], f"{len(moved)} nodes moved")
        return ir.passes.PassResult(model, bool(moved))
