"""Computes what depends on known dimensions and constants alone.

An exporter that keeps the batch dynamic spells out as nodes even what does not depend on it, such
as the 1/√d that attention multiplies by: Shape, Slice, Cast, Sqrt, Div.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.graph.dims import Dim, entries_of
from onnxq.graph.edit import add_initializer, remove_node
from onnxq.graph.query import is_graph_output, is_op, weight_of
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

__all__ = ["FoldDimensionsPass"]

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Cast": lambda x: x,
    "Div": np.divide,
    "Mul": np.multiply,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Sqrt": np.sqrt,
}
_SMALL = 64


class FoldDimensionsPass(RewritePass):
    """Replaces arithmetic on known dimensions by its result.

    1. An array of int64 is constant if all its entries are known (``onnxq.graph.dims``).
    2. A function of small constants that gives float32 is constant.
    3. A Where that takes the same branch whatever the dimensions is that branch.
    4. Outputs of the graph stay computed.
    """

    name = "fold-dimensions"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every node of the main graph, in order; then drops what nobody reads any more."""
        folded = []
        for node in model.graph:
            if len(node.outputs) == 1 and not is_graph_output(node.outputs[0]):
                folded += [node] if self._try_fold(model.graph, node) else []
        for node in reversed(folded):
            _remove_unread(node)
        return ir.passes.PassResult(model, bool(folded))

    def _try_fold(self, graph: ir.Graph, node: ir.Node) -> bool:
        out = node.outputs[0]
        if not out.uses() or out.dtype not in (ir.DataType.INT64, ir.DataType.FLOAT):
            return False
        branch = _branch(node)
        result = _integers(out) if out.dtype == ir.DataType.INT64 else _floats(node)
        if branch is not None:
            ir.convenience.replace_all_uses_with(out, branch)
            return self.fired(node, "it always takes one branch")
        if result is None:
            return False
        known = add_initializer(graph, f"{out.name}_known", result)
        ir.convenience.replace_all_uses_with(out, known)
        return self.fired(node, f"its result is {result.tolist()}")


def _integers(value: ir.Value) -> npt.NDArray[np.int64] | None:
    """Rule 1."""
    entries = entries_of(value)
    if entries is None or any(isinstance(entry, Dim) for entry in entries.reshape(-1)):
        return None
    return entries.astype(np.int64)


def _floats(node: ir.Node) -> npt.NDArray[np.float32] | None:
    """Rule 2."""
    function = _FUNCTIONS.get(node.op_type) if node.domain == "" else None
    operands = [weight_of(value) for value in node.inputs]
    known = [array for array in operands if array is not None and array.size <= _SMALL]
    if function is None or len(known) < len(operands):
        return None
    if not all(array.dtype in (np.float32, np.float64, np.int64) for array in known):
        return None
    with np.errstate(all="ignore"):
        return np.asarray(function(*known), np.float32)


def _branch(node: ir.Node) -> ir.Value | None:
    """Rule 3."""
    if not is_op(node, "Where"):
        return None
    chosen = entries_of(node.outputs[0])
    for value in node.inputs[1:]:
        entries = entries_of(value)
        if chosen is None or entries is None or weight_of(value) is not None:
            continue
        if chosen.shape == entries.shape and (chosen == entries).all():
            return value
    return None


def _remove_unread(node: ir.Node) -> None:
    """Removes a node that nobody reads, and what computed its inputs for it alone."""
    if node.graph is None or any(out.uses() or is_graph_output(out) for out in node.outputs):
        return
    producers = [value.producer() for value in node.inputs if value is not None]
    remove_node(node)
    for producer in producers:
        if producer is not None:
            _remove_unread(producer)
