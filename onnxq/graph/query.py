"""Questions about a graph that many passes ask; nothing here edits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    Dims = tuple[int | None, ...]
    DimsOf = Callable[[ir.Value | None], tuple[int, ...] | None]

__all__ = [
    "NodeUse",
    "descendants",
    "heavy",
    "is_graph_output",
    "is_op",
    "macs",
    "only_use",
    "read_values",
    "scalar_of",
    "shape_of",
    "weight_of",
]


class NodeUse(NamedTuple):
    """One use of a value: the node that reads it and the position among that node's inputs."""

    node: ir.Node
    position: int


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Says whether ``node`` is a standard ONNX operator of one of the given types."""
    return node is not None and node.domain == "" and node.op_type in op_types


def weight_of(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """Returns the data of a constant value.

    Returns:
        The array of an initializer or a Constant node, which must not be written to; None for
        everything that is computed or that a caller may feed (graph inputs, with a default or
        without).
    """
    if value is None or value.is_graph_input():
        return None
    if not value.is_initializer() and not is_op(value.producer(), "Constant"):
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def scalar_of(value: ir.Value | None) -> float | None:
    """Returns the number in a constant value of exactly one element, whatever its rank."""
    weight = weight_of(value)
    return float(weight.reshape(())) if weight is not None and weight.size == 1 else None


def is_graph_output(value: ir.Value) -> bool:
    """Says whether the graph returns ``value``, so that its name and meaning must stay."""
    return bool(value.is_graph_output())


def only_use(value: ir.Value) -> NodeUse | None:
    """Returns the one use of ``value``; None if it has none, several, or is a graph output."""
    uses = list(value.uses())
    if len(uses) != 1 or is_graph_output(value):
        return None
    return NodeUse(*uses[0])


def shape_of(value: ir.Value | None) -> Dims | None:
    """Returns the shape that is known without running; None for an unknown rank or dimension."""
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def heavy(node: ir.Node) -> bool:
    """Says whether ``node`` is a layer that multiplies by a constant weight."""
    return (
        is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul")
        and len(node.inputs) > 1
        and weight_of(node.inputs[1]) is not None
    )


def read_values(node: ir.Node) -> Iterator[ir.Value]:
    """Yields all values that ``node`` reads, those that its subgraphs capture included."""
    for value in node.inputs:
        if value is not None:
            yield value
    for direct in _subgraphs(node):
        for subgraph in (direct, *direct.subgraphs()):
            read = [value for inner in subgraph for value in inner.inputs]
            for value in (*read, *subgraph.outputs):
                if value is not None and value.graph is node.graph:
                    yield value


def descendants(starts: Iterable[ir.Value | None]) -> set[ir.Node]:
    """Returns all nodes of the graph that depend on the given values.

    A node whose subgraph captures such a value counts; the nodes inside the subgraph do not.
    """
    values = [value for value in starts if value is not None]
    graph = next((value.graph for value in values if value.graph is not None), None)
    if graph is None:
        return set()
    readers: dict[ir.Value, list[ir.Node]] = {}
    for node in graph:
        for value in read_values(node):
            readers.setdefault(value, []).append(node)
    found: set[ir.Node] = set()
    while values:
        for node in readers.get(values.pop(), ()):
            if node not in found:
                found.add(node)
                values.extend(node.outputs)
    return found


def macs(node: ir.Node, shapes: Mapping[str, Sequence[int | None]] | None = None) -> int | None:
    """Counts the multiply-accumulates of one run of ``node``.

    Args:
        node: Any node; one that is neither convolution nor matrix product counts 0.
        shapes: Shapes by value name, for example observed ones, which win over those in the model.

    Returns:
        The count, with an unknown batch (first) dimension taken as 1; None if another dimension
        that it depends on is unknown.
    """
    counter = _COUNTERS.get(node.op_type) if node.domain == "" else None
    if counter is None:
        return 0

    def dims(value: ir.Value | None) -> tuple[int, ...] | None:
        return _static(value, shapes or {})

    return counter(node, dims)


def _subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def _static(
    value: ir.Value | None, shapes: Mapping[str, Sequence[int | None]]
) -> tuple[int, ...] | None:
    known = shapes.get(value.name) if value is not None and value.name else None
    shape = tuple(known) if known is not None else shape_of(value)
    if shape is None:
        return None
    if shape and shape[0] is None:
        shape = (1, *shape[1:])
    dims = tuple(dim for dim in shape if dim is not None)
    return dims if len(dims) == len(shape) else None


def _conv_macs(node: ir.Node, dims: DimsOf) -> int | None:
    output, weight = dims(node.outputs[0]), dims(node.inputs[1])
    return None if output is None or weight is None else math.prod(output) * math.prod(weight[1:])


def _conv_transpose_macs(node: ir.Node, dims: DimsOf) -> int | None:
    x, weight = dims(node.inputs[0]), dims(node.inputs[1])
    return None if x is None or weight is None else math.prod(x) * math.prod(weight[1:])


def _matmul_macs(node: ir.Node, dims: DimsOf) -> int | None:
    output, left = dims(node.outputs[0]), dims(node.inputs[0])
    if output is None or left is None:
        return None
    transposed = node.op_type == "Gemm" and node.attributes.get_int("transA", 0) == 1
    return math.prod(output) * (left[0] if transposed else left[-1])


_COUNTERS: dict[str, Callable[[ir.Node, DimsOf], int | None]] = {
    "Conv": _conv_macs,
    "ConvTranspose": _conv_transpose_macs,
    "Gemm": _matmul_macs,
    "MatMul": _matmul_macs,
}
