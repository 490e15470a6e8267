"""Replaces a target shape that is computed from the batch by a constant one.

An exporter that keeps the batch dynamic writes ``x.view(x.size(0), -1)`` as Shape, Gather,
Unsqueeze, Concat and Reshape. Reshape itself can copy a dimension (0) and infer one (-1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.dims import Dim, entries_of
from onnxq.graph.edit import add_initializer
from onnxq.graph.query import is_op, weight_of
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FlattenShapePass"]


class FlattenShapePass(RewritePass):
    """Gives Reshape a constant shape.

    1. Every entry of the shape is a constant or a dimension of some value
       (``onnxq.graph.dims``).
    2. An entry that is the dimension of the Reshape's own input at the same place becomes 0
       (copy). Another value's dimension is the same if both have the same name.
    3. One entry that is left becomes -1 (infer), if the shape has no -1 yet.
    4. ``allowzero`` must not be set, for then 0 is no copy.
    """

    name = "flatten-shape"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every Reshape of the main graph."""
        modified = False
        for node in model.graph:
            if is_op(node, "Reshape") and weight_of(node.inputs[1]) is None:
                modified |= self._try_flatten(node)
        return ir.passes.PassResult(model, modified)

    def _try_flatten(self, node: ir.Node) -> bool:
        x, wanted = node.inputs
        assert x is not None
        entries = entries_of(wanted)
        if entries is None:
            return self.refuse(node, "its shape is not put together from dimensions and constants")
        if node.attributes.get_int("allowzero", 0):
            return self.refuse(node, "it has allowzero set")
        target = [
            0 if _same_dim(x, i, entry) else entry for i, entry in enumerate(entries.tolist())
        ]
        left = [i for i, entry in enumerate(target) if isinstance(entry, Dim)]
        if len(left) + target.count(-1) > 1:
            return self.refuse(node, "more than one of its dimensions would have to be inferred")
        shape = [-1 if isinstance(entry, Dim) else entry for entry in target]
        self.fired(node, f"its shape is the constant {shape}")
        _write(node, shape)
        return True


def _write(node: ir.Node, shape: Sequence[int]) -> None:
    graph, old = node.graph, node.inputs[1]
    assert isinstance(graph, ir.Graph)
    assert old is not None
    name = f"{node.outputs[0].name}.shape"
    node.replace_input_with(1, add_initializer(graph, name, np.array(shape, np.int64)))
    _remove_unread(old)
    _tell_shape(node, shape)


def _remove_unread(value: ir.Value) -> None:
    """Removes what computes ``value`` as far as nobody else needs it."""
    producer = value.producer()
    if producer is None or value.uses() or value.is_graph_output():
        return
    inputs = [item for item in producer.inputs if item is not None]
    assert producer.graph is not None
    producer.graph.remove(producer, safe=True)
    for item in inputs:
        if item.is_initializer() and not item.uses() and isinstance(item.graph, ir.Graph):
            item.graph.initializers.pop(str(item.name), None)
        _remove_unread(item)


def _tell_shape(node: ir.Node, shape: Sequence[int]) -> None:
    """Writes down what is now known of the output's shape."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if y.is_graph_output() or x.shape is None:
        return
    copied = [i for i, entry in enumerate(shape) if entry == 0]
    dims: list[int | ir.SymbolicDim] = [
        x.shape[i] if entry == 0 else entry for i, entry in enumerate(shape)
    ]
    if -1 in shape:
        rest = [dim for i, dim in enumerate(x.shape) if i not in copied]
        given = int(np.prod([entry for entry in shape if entry > 0], dtype=np.int64))
        known = all(isinstance(dim, int) for dim in rest)
        total = int(np.prod([dim for dim in rest if isinstance(dim, int)], dtype=np.int64))
        dims[shape.index(-1)] = total // given if known else ir.SymbolicDim(None)
    y.shape = ir.Shape(dims)


def _same_dim(x: ir.Value, place: int, entry: int | Dim) -> bool:
    """Rule 2: says whether ``entry`` is the dimension of ``x`` at ``place``."""
    if not isinstance(entry, Dim):
        return False
    if entry == Dim(x, place):
        return True
    if x.shape is None or entry.value.shape is None or place >= len(x.shape):
        return False
    mine, other = x.shape[place], entry.value.shape[entry.axis]
    return (
        isinstance(mine, ir.SymbolicDim)
        and isinstance(other, ir.SymbolicDim)
        and mine.value is not None
        and mine.value == other.value
    )
