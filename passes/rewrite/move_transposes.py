"""Moves Transposes to where the fewest are needed.

Converters from TensorFlow (NHWC) put a Transpose in front of every Conv and another one behind it.
Those that meet cancel out; between others there are nodes that do not care about the order of axes,
such as activations, additions and Concat. Here every such node is given the order of axes with
which the graph as a whole needs the least transposing: a minimum cut
(:mod:`onnxq.graph.layout_cut`), not a search that pushes one Transpose at a time and may get stuck.
What it costs falls strictly with each change, so it ends.

Example. Conv → NHWC → Add(bias) → Relu → NCHW → Conv becomes Conv → Add(bias as [1, C, 1, 1]) →
Relu → Conv, and the bias can be folded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.axis_order import between, reshape_for
from onnxq.graph.edit import add_initializer, remove_unread
from onnxq.graph.layout_cut import cheapest_orders
from onnxq.graph.layout_regions import layout_regions
from onnxq.graph.names import Names
from onnxq.graph.query import is_op, weight_of
from onnxq.graph.relayout import put_in_order
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from onnxq.graph.axis_order import Order
    from onnxq.graph.layout_regions import Read, Region

__all__ = ["MoveTransposesPass"]

# The second round has hardly ever anything to do, the third never had.
_ROUNDS = 4


class MoveTransposesPass(RewritePass):
    """Moves, merges and removes Transposes.

    1. Nodes change their order of axes only if they compute the same in any
       (:mod:`onnxq.graph.relayout`), and only if that makes the graph's Transposes cheaper: fewer,
       or of smaller values, or at a place where they keep no two layers from being merged.
    2. Several Transposes in a row become one, or none; those that do the same become one.
    3. A Transpose that moves axes of size 1 alone becomes a Reshape.
    4. A constant is transposed at once.
    5. Inputs and outputs of the graph keep name, shape and order of axes. So does what a subgraph
       reads.
    6. A value that gets another order gets another name; who reads it in the old order reads a
       Transpose under the old name.
    """

    name = "move-transposes"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the regions of the main graph until none gets cheaper."""
        modified = False
        for _ in range(_ROUNDS):
            if not self._try_move_all(model.graph):
                break
            modified = True
        for node in model.graph:
            if is_op(node, "Transpose"):
                self.refuse(node, "no order of axes of the nodes around it would do without")
        return ir.passes.PassResult(model, modified)

    def _try_move_all(self, graph: ir.Graph) -> bool:
        modified = False
        for region in layout_regions(graph):
            modified |= self._try_move(graph, region)
        return modified

    def _try_move(self, graph: ir.Graph, region: Region) -> bool:
        orders = cheapest_orders(region)
        if orders is None:
            return False
        edit = _Edit(graph, region)
        for node, order in orders.items():
            edit.put(node, order)
        for source, reads in region.reads.items():
            for read in reads:
                reader = region.reader(read)
                edit.read(source, read, read.order if reader is None else orders[reader])
        gone, new = edit.finish()
        for name in gone:
            self.fired(name, "not needed any more")
        for node in new:
            self.fired(node, f"put behind '{node.inputs[0].name if node.inputs[0] else ''}'")
        return True


class _Edit:
    """Gives nodes of a region other orders of axes, and their readers what they want."""

    def __init__(self, graph: ir.Graph, region: Region) -> None:
        self._graph, self._region = graph, region
        self._taken = Names(graph)
        self._fresh = self._taken.fresh
        self._now = dict(region.orders)
        self._stated = {value: (value.type, value.shape) for value in graph.outputs}
        self._names: dict[tuple[ir.Value, Order], tuple[str, str]] = {}
        self._made: dict[tuple[ir.Value, Order], ir.Value] = {}
        self._new: dict[tuple[ir.Value, Order], ir.Node] = {}
        for node in reversed(region.transposes):
            value = node.outputs[0]
            key = (region.source(node), region.orders[value])
            self._names[key] = (node.name or "", value.name or "")

    def put(self, node: ir.Node, order: Order) -> None:
        """Gives a free node another order of axes (rules 4 and 6)."""
        old = self._region.free[node]
        if order == old:
            return
        put_in_order(node, between(old, order))
        for position in self._region.ports[node].outputs:
            value = node.outputs[position]
            self._now[value] = order
            self._names[value, old] = (f"{value.name}_Transpose", str(value.name))
            value.name = self._fresh(f"{value.name}_transposed")

    def read(self, source: ir.Value, read: Read, order: Order) -> None:
        """Lets one place read ``source`` in ``order``."""
        value = self._in_order(source, order)
        if read.node is not None:
            if read.node.inputs[read.position] is not value:
                read.node.replace_input_with(read.position, value)
        elif value is not read.value:
            self._return(value, read)

    def finish(self) -> tuple[list[str], list[ir.Node]]:
        """Removes what is not needed any more.

        Returns:
            Names of the Transposes that are gone, and the new ones.
        """
        before = {node: node.name or "" for node in self._region.transposes}
        remove_unread(self._region.transposes)
        fresh = Names(self._graph).fresh
        for key, node in self._new.items():
            name, output = self._names.get(key, ("", ""))
            if name and fresh(name) == name:
                node.name = name
            returned = node.outputs[0].is_graph_output()
            if output and not returned and fresh(output) == output:
                node.outputs[0].name = output
        names = {node.name for node in self._new.values()}
        gone = [name for node, name in before.items() if node.graph is None and name not in names]
        return gone, list(self._new.values())

    def _in_order(self, source: ir.Value, order: Order) -> ir.Value:
        now = self._now[source]
        if order == now:
            return source
        if (source, order) not in self._made:
            self._made[source, order] = self._present(source, order) or self._make(source, order)
        return self._made[source, order]

    def _present(self, source: ir.Value, order: Order) -> ir.Value | None:
        """Returns what a Transpose of the graph makes already, put in front of all readers."""
        if self._now[source] != self._region.orders[source] or weight_of(source) is not None:
            return None
        for node in self._region.transposes:
            value = node.outputs[0]
            if node.inputs[0] is source and self._region.orders[value] == order:
                if is_op(node, "Transpose") and self._reshape(source, order) is not None:
                    return None
                self._graph.remove(node)
                self._place(source, node)
                return value
        return None

    def _make(self, source: ir.Value, order: Order) -> ir.Value:
        axes = between(self._now[source], order)
        weight = weight_of(source)
        stem = f"{source.name}_transposed"
        if weight is not None:
            return add_initializer(self._graph, stem, weight.transpose(axes), names=self._taken)
        target = self._reshape(source, order)
        name = self._fresh(f"{source.name}_Transpose")
        if target is None:
            node = ir.node("Transpose", [source], {"perm": axes}, name=name)
        else:
            entries = np.array(target, np.int64)
            shape = add_initializer(self._graph, f"{name}.shape", entries, names=self._taken)
            node = ir.node("Reshape", [source, shape], name=name)
        value = node.outputs[0]
        assert source.shape is not None
        value.type, value.shape = source.type, ir.Shape([source.shape[axis] for axis in axes])
        self._place(source, node)
        value.name = self._fresh(stem)
        self._new[source, order] = node
        return value

    def _reshape(self, source: ir.Value, order: Order) -> list[int] | None:
        """Rule 3."""
        assert source.shape is not None
        return reshape_for(between(self._now[source], order), list(source.shape))

    def _place(self, source: ir.Value, node: ir.Node) -> None:
        producer = source.producer()
        if producer is not None:
            self._graph.insert_after(producer, node)
        else:
            self._graph.insert_before(self._graph[0], node)

    def _return(self, value: ir.Value, read: Read) -> None:
        """Rule 5: makes ``value`` an output of the graph under the name that is there now."""
        old = read.value
        if value.is_graph_output() or value.is_graph_input() or value.is_initializer():
            node = ir.node("Identity", [value], name=self._fresh(f"{old.name}_copy"))
            self._graph.append(node)
            value = node.outputs[0]
        name = self._names.pop((old, self._region.orders[old]), ("", ""))[1] or old.name
        if old.name == name:
            old.name = self._fresh(f"{name}_transposed")
        self._graph.outputs[read.position] = value
        value.name = name
        value.type, value.shape = self._stated[old]
