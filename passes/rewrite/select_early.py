"""Picks rows before the layers that treat them one by one, not behind these layers.

A transformer that classifies by one token computes its last block for all tokens and then drops all
but one. What is row-wise (``onnxq.graph.rows``) gives the same for rows that are picked earlier:

    f(x)[rows]  =  f(x[rows])
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.edit import add_initializer, new_node, replace_weight, take_over
from onnxq.graph.names import fresh_name
from onnxq.graph.query import is_graph_output, is_op, shape_of, weight_of
from onnxq.graph.rows import carriers
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["SelectEarlyPass"]

_HEAVY = ("Gemm", "MatMul")


@dataclass
class _Region:
    """The nodes whose outputs are read at the picked rows alone.

    Attributes:
        root: The Gather that picks.
        rows: Indices, int64 [k].
        axes: Value → axis along which its rows lie, for what the region's nodes write.
        nodes: The region, last node first.
        reads: Value → uses by the region as (node, position, axis).
    """

    root: ir.Node
    rows: npt.NDArray[np.int64]
    axes: dict[ir.Value, int] = field(default_factory=dict)
    nodes: list[ir.Node] = field(default_factory=list)
    reads: dict[ir.Value, list[tuple[ir.Node, int, int]]] = field(default_factory=dict)

    def read(self, node: ir.Node, position: int, axis: int) -> None:
        """Enters that ``node`` needs one slice of an input."""
        value = node.inputs[position]
        assert value is not None
        self.reads.setdefault(value, []).append((node, position, axis))


class SelectEarlyPass(RewritePass):
    """Moves a Gather of a few rows in front of the layers whose other rows nobody reads.

    1. The Gather has constant indices, fewer than there are rows, and reads a float value.
    2. A node joins the region if it is row-wise and all that read it are in the region, at the same
       rows of the same axis.
    3. The region holds a matrix product: else there is nothing to save.
    4. Where the region begins, rows are picked; constants are cut.
    """

    name = "select-early"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every Gather of the main graph."""
        modified = False
        for node in list(model.graph):
            if is_op(node, "Gather") and node.graph is not None:
                modified |= self._try_select(model.graph, node)
        return ir.passes.PassResult(model, modified)

    def _try_select(self, graph: ir.Graph, node: ir.Node) -> bool:
        x, indices = node.inputs[0], weight_of(node.inputs[1])
        if x is None or x.producer() is None or indices is None:
            return False
        shape = shape_of(x)
        if shape is None or x.dtype != ir.DataType.FLOAT or indices.ndim > 1:
            return False
        axis = node.attributes.get_int("axis", 0) % len(shape)
        count = shape[axis]
        rows = np.asarray(indices.reshape(-1), np.int64)
        if len(rows) >= (2 if count is None else count):
            return self.refuse(node, "it does not pick a few of many rows")
        region = _region(graph, node, rows, axis)
        if not any(is_op(member, *_HEAVY) for member in region.nodes):
            return self.refuse(node, "no matrix product in front of it whose other rows are unread")
        self.fired(node, f"picked in front of {len(region.nodes)} nodes")
        _narrow(graph, region)
        _finish(region, axis, indices.ndim)
        return True


def _region(graph: ir.Graph, root: ir.Node, rows: npt.NDArray[np.int64], axis: int) -> _Region:
    """Rule 2."""
    region = _Region(root, rows)
    region.read(root, 0, axis)
    for node in reversed(graph):
        reads = region.reads.get(node.outputs[0]) if len(node.outputs) == 1 else None
        if reads is None or is_graph_output(node.outputs[0]):
            continue
        axes = {read[2] for read in reads}
        if len(axes) > 1 or len(reads) < len(list(node.outputs[0].uses())):
            continue
        found = carriers(node, reads[0][2], first=not rows.any())
        if found is None:
            continue
        region.nodes.append(node)
        region.axes[node.outputs[0]] = reads[0][2]
        for carrier in found:
            region.read(node, *carrier)
    return region


def _narrow(graph: ir.Graph, region: _Region) -> None:
    """Rule 4, and the shapes of all that is narrower now."""
    order = {node: number for number, node in enumerate(graph)}
    members = set(region.nodes)
    for value, reads in list(region.reads.items()):
        if value.producer() in members:
            continue
        for axis in sorted({read[2] for read in reads}):
            uses = [read for read in reads if read[2] == axis]
            first = min((read[0] for read in uses), key=order.__getitem__)
            picked = _picked(graph, value, region.rows, axis, first)
            for node, position, _ in uses:
                node.replace_input_with(position, picked)
    for node in region.nodes:
        out = node.outputs[0]
        axis = region.axes[out]
        if is_op(node, "Reshape"):
            _reshape_to(node, axis, len(region.rows))
        out.shape = _cut_shape(out, axis, len(region.rows))
        # the old name stands for all rows
        out.name = fresh_name(graph, f"{out.name}_rows")


def _picked(
    graph: ir.Graph, value: ir.Value, rows: npt.NDArray[np.int64], axis: int, before: ir.Node
) -> ir.Value:
    array = weight_of(value)
    if array is not None:
        return add_initializer(graph, f"{value.name}_rows", np.take(array, rows, axis))
    indices = add_initializer(graph, f"{value.name}_rows.indices", rows)
    gather = new_node(before, "Gather", [value, indices], {"axis": axis}, stem=f"{value.name}_rows")
    gather.outputs[0].shape = _cut_shape(value, axis, len(rows))
    return gather.outputs[0]


def _cut_shape(value: ir.Value, axis: int, count: int) -> ir.Shape | None:
    if value.shape is None:
        return None
    return ir.Shape([count if i == axis else dim for i, dim in enumerate(value.shape)])


def _reshape_to(node: ir.Node, axis: int, count: int) -> None:
    """Gives a Reshape the new number of rows where its shape spells the old one out."""
    target = weight_of(node.inputs[1])
    assert target is not None
    if target[axis] > 0:
        replace_weight(node, 1, np.where(np.arange(target.size) == axis, count, target))


def _finish(region: _Region, axis: int, rank: int) -> None:
    """Lets the narrow value stand for what the Gather wrote; a scalar index drops the axis."""
    root = region.root
    value = root.inputs[0]
    assert value is not None
    last = value
    if rank == 0:
        graph = root.graph
        assert isinstance(graph, ir.Graph)
        axes = add_initializer(graph, f"{root.name}.axes", np.array([axis], np.int64))
        last = new_node(root, "Squeeze", [value, axes]).outputs[0]
    take_over(root.outputs[0], last)
