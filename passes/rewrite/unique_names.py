"""Gives every node and every value a name of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["UniqueNames"]


class UniqueNames(RewritePass):
    """Makes names unique over the main graph and all subgraphs.

    1. Inputs and outputs of the main graph keep their names.
    2. Of several values (or nodes) with one name the first in graph order keeps it; the others get
       ``name_1``, ``name_2`` and so on.
    3. A node without a name is called after its operator, ``Conv_7`` for the node at position 7.
    4. A value without a name is called after its node. An output that is left out stays nameless.
    """

    name = "unique-names"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Names values first, then nodes."""
        modified = False
        boundary = dict.fromkeys((*model.graph.inputs, *model.graph.outputs))
        taken = {value.name for value in boundary if value.name}
        for value in _values(model):
            if value not in boundary or not value.name:
                modified |= self._try_rename(value, _wish_for_value(value), taken)
        taken = set()
        for index, node in enumerate(ir.traversal.RecursiveGraphIterator(model.graph)):
            modified |= self._try_rename(node, f"{node.op_type}_{index}", taken)
        return ir.passes.PassResult(model, modified)

    def _try_rename(self, item: ir.Value | ir.Node, wish: str, taken: set[str]) -> bool:
        """Renames ``item`` if its name is missing or taken; records its name as taken."""
        old = item.name
        name = base = old or wish
        count = 0
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        if name == old:
            return False
        item.name = name
        return self.fired(item, f"renamed from '{old}'" if old else "had no name")


def _wish_for_value(value: ir.Value) -> str:
    node = value.producer()
    return f"{node.name or node.op_type}_output" if node is not None else "value"


def _values(model: ir.Model) -> Iterator[ir.Value]:
    """Yields the inputs, weights and outputs of nodes of each graph, outer graphs first."""
    seen: set[ir.Value] = set()
    for graph in model.graphs():
        groups = [graph.inputs, graph.initializers.values(), *(node.outputs for node in graph)]
        for values in groups:
            for value in list(values):
                left_out = not value.name and not value.uses() and not value.is_graph_output()
                if value not in seen and not left_out:
                    seen.add(value)
                    yield value
