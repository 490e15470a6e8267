"""Small edits of a graph, each of which leaves it consistent.

A new node counts as a user of its inputs from the moment it is made. So whoever reroutes the users
of a value must list them before making the node that is to stand in between; :func:`insert_after`
and :func:`replace_uses` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxq.graph.names import Names
from onnxq.graph.on_disk import kept
from onnxq.graph.query import is_graph_output, weight_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

__all__ = [
    "add_initializer",
    "drop_if_unused",
    "insert_after",
    "new_node",
    "remove_node",
    "remove_unread",
    "replace_uses",
    "replace_weight",
    "set_weight",
    "take_over",
]


def add_initializer(
    graph: ir.Graph, name: str, array: npt.NDArray[Any], *, names: Names | None = None
) -> ir.Value:
    """Adds a weight under ``name`` (or the next name that is free) and returns its value.

    Args:
        graph: Where to.
        name: Start of its name.
        array: Its data.
        names: Those of the graph, kept by who adds much.
    """
    names = names or Names(graph)
    tensor = ir.tensor(kept(array))
    value = ir.val(names.fresh(name), tensor.dtype, list(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def set_weight(value: ir.Value, array: npt.NDArray[Any]) -> None:
    """Gives a weight new data, for all who read it, and the shape and dtype of that data.

    Raises:
        ValueError: ``value`` is not an initializer, or a caller may feed it.
    """
    if not value.is_initializer() or value.is_graph_input():
        raise ValueError(f"{value.name} is not a weight")
    tensor = ir.tensor(kept(array), name=value.name)
    value.const_value = tensor
    value.shape = ir.Shape(array.shape)
    value.type = ir.TensorType(tensor.dtype)


def replace_weight(
    node: ir.Node, index: int, array: npt.NDArray[Any], stem: str | None = None
) -> ir.Value:
    """Gives ``node`` a weight of its own at input ``index``.

    The data of the old weight changes in place if nobody else reads it; otherwise the node gets a
    copy under a new name and the others keep theirs.

    Args:
        node: A node of a graph; it may have fewer inputs than ``index + 1``.
        index: Position among the inputs.
        array: The new data.
        stem: Start of the name of a new weight; default is the old one's name.

    Returns:
        The node's weight.
    """
    graph = _graph_of(node)
    old = node.inputs[index] if index < len(node.inputs) else None
    if old is not None and weight_of(old) is not None and _belongs_to(old, node, index):
        set_weight(old, array)
        return old
    own = node.name or node.outputs[0].name
    fallback = old.name if old is not None and old.name else f"{own}.input{index}"
    value = add_initializer(graph, stem or fallback, array)
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)
    if old is not None:
        drop_if_unused(old)
    return value


def new_node(  # noqa: PLR0913 (a node is all of this)
    before: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    stem: str | None = None,
    dtype: ir.DataType | None = None,
    names: Names | None = None,
) -> ir.Node:
    """Makes a standard ONNX node with one output, named, in front of ``before``.

    Args:
        before: A node of the graph; it may be one that the new node replaces.
        op_type: The operator.
        inputs: What it reads; all must exist in front of ``before``.
        attributes: Python values by name.
        stem: Start of the names of the node and its output; default is made from ``before``.
        dtype: Of the output; default is that of the first input.
        names: Those of the graph, kept by who adds much.
    """
    graph = _graph_of(before)
    names = names or Names(graph)
    name = names.fresh(stem or f"{before.name or before.outputs[0].name}_{op_type}")
    node = ir.node(op_type, inputs, attributes, name=name)
    first = next((value for value in inputs if value is not None), None)
    dtype = dtype if dtype is not None or first is None else first.dtype
    graph.insert_before(before, node)
    node.outputs[0].name = names.fresh(f"{name}_out")
    if dtype is not None:
        node.outputs[0].type = ir.TensorType(dtype)
    return node


def replace_uses(
    value: ir.Value, new: ir.Value, uses: Collection[tuple[ir.Node, int]] | None = None
) -> None:
    """Makes readers of ``value`` read ``new`` instead; graph outputs stay what they are.

    Args:
        value: What is read now.
        new: What is to be read.
        uses: Which uses to change; default is all but those by the producer of ``new``.
    """
    producer = new.producer()
    chosen = list(value.uses() if uses is None else uses)
    for node, index in chosen:
        if uses is not None or producer is None or node is not producer:
            node.replace_input_with(index, new)


def insert_after(
    value: ir.Value, op_type: str, attributes: Mapping[str, Any] | None = None
) -> ir.Node:
    """Puts a one-input node behind ``value``, so that all present readers read the node's output.

    A graph output stays ``value`` itself. The output has the dtype and shape of ``value``.
    """
    graph = value.graph
    if graph is None:
        raise ValueError(f"{value.name} belongs to no graph")
    uses = list(value.uses())
    names = Names(graph)
    name = names.fresh(f"{value.name}_{op_type}")
    node = ir.node(op_type, [value], attributes, name=name)
    output = node.outputs[0]
    output.type, output.shape = value.type, value.shape
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, node)
    elif len(graph):
        graph.insert_before(graph[0], node)
    else:
        graph.append(node)
    output.name = names.fresh(f"{name}_out")
    replace_uses(value, output, uses)
    return node


def take_over(old: ir.Value, new: ir.Value) -> None:
    """Lets ``new`` stand for ``old``: its name, type, shape, readers and place among the outputs.

    The producer of ``old`` is removed. So a name keeps its meaning while the nodes that compute
    the value change.

    Raises:
        ValueError: ``new`` is itself a graph input, a graph output or a weight, whose name must
            stay.
    """
    if is_graph_output(new) or new.is_graph_input() or new.is_initializer():
        raise ValueError(f"{new.name} must keep its name")
    producer = old.producer()
    name, kind, shape = old.name, old.type, old.shape
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    if producer is not None:
        remove_node(producer)
    new.name = name
    new.type = kind if kind is not None else new.type
    new.shape = shape


def remove_node(node: ir.Node) -> None:
    """Removes a node that nobody reads, and the weights and Constants that only it read.

    Raises:
        ValueError: An output is still read or is a graph output.
    """
    inputs = dict.fromkeys(value for value in node.inputs if value is not None)
    _graph_of(node).remove(node, safe=True)
    for value in inputs:
        drop_if_unused(value)


def remove_unread(nodes: Sequence[ir.Node]) -> None:
    """Removes those of ``nodes`` (in topological order) that nobody reads, from the last on."""
    for node in reversed(nodes):
        read = any(value.uses() or is_graph_output(value) for value in node.outputs)
        if node.graph is not None and not read:
            remove_node(node)


def drop_if_unused(value: ir.Value) -> None:
    """Removes a weight or Constant that nobody reads; leaves all other values alone."""
    if value.uses() or is_graph_output(value) or weight_of(value) is None:
        return
    graph, producer = value.graph, value.producer()
    if producer is not None:
        _graph_of(producer).remove(producer, safe=True)
    elif isinstance(graph, ir.Graph) and value.name is not None:
        graph.initializers.pop(value.name)


def _belongs_to(value: ir.Value, node: ir.Node, index: int) -> bool:
    return (
        value.is_initializer()
        and value.graph is node.graph
        and not is_graph_output(value)
        and list(value.uses()) == [(node, index)]
    )


def _graph_of(node: ir.Node) -> ir.Graph:
    if node.graph is None:
        raise ValueError(f"{node.name} belongs to no graph")
    return node.graph
