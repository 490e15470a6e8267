"""The part of a model that a program without float arithmetic runs: up to its last borders.

1. What depends on constants alone is no part of it, and neither are shapes.
2. Floats are quantized, dequantized and moved, and not computed with.
3. What the reference has no arithmetic for is left out, and so is what moves numbers in a way that
   depends on the data.
4. All that comes of what is left out is left out too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxq.errors import ModelError
from onnxq.export.flat_nodes import MOVES
from onnxq.export.loop_nests import LOOP_NESTS
from onnxq.graph.query import read_values
from onnxq.passbase import node_label
from onnxq.reference import evaluate
from onnxq.reference.integers import is_integer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[Any]
    Arrays = Mapping[ir.Value, Array]

__all__ = ["IntegerPart", "integer_part"]

# Operators that compute with their first input alone.
_TOLD_HOW = frozenset((*MOVES, *LOOP_NESTS)) - {"ConvInteger", "MatMulInteger"}
_ON_FLOATS = frozenset(("Concat", "DequantizeLinear", "Gather", "Pad", "QuantizeLinear", *MOVES))


class IntegerPart(NamedTuple):
    """What is run, of one run.

    Attributes:
        nodes: In graph order.
        arrays: All values that were computed; of those that are not constant, only type and shape.
        inputs: What is fed.
        outputs: The model's outputs, and what else nodes that are left out read.
        left_out: Why nodes are left out.
    """

    nodes: list[ir.Node]
    arrays: Arrays
    inputs: list[ir.Value]
    outputs: list[ir.Value]
    left_out: list[str]


def integer_part(model: ir.Model, feed: Mapping[str, Array]) -> IntegerPart:
    """Runs a model once with the reference, and finds out what of it is the part.

    Raises:
        ModelError: There is none, or an integer overflows.
    """
    graph = model.graph
    fed = [value for value in graph.inputs if value.const_value is None]
    varying = _varying(graph, fed)
    left_out: list[str] = []
    arrays: dict[ir.Value, Array] = {}
    names = [value.name for value in _every_value(graph) if value.name]
    for value, array in evaluate(model, feed, names, refused=lambda e: left_out.append(str(e))):
        arrays[value] = _shell(array) if value in varying else array
    known, nodes = set(fed), []
    for node in graph:
        read = varying.intersection(read_values(node))
        if node.outputs[0] not in arrays or not read or not read <= known:
            continue
        if reason := _obstacle(node, arrays, varying):
            left_out.append(f"node '{node_label(node)}' ({node.op_type}): {reason}")
        elif node.outputs[0] in varying:
            known.update(node.outputs)
            nodes.append(node)
    if not nodes:
        raise ModelError(f"it has no integer part: {next(iter(left_out), 'it is empty')}")
    outputs = _outputs(graph, varying, known, nodes)
    return IntegerPart(nodes, arrays, fed, outputs, left_out)


def _varying(graph: ir.Graph, fed: Iterable[ir.Value]) -> set[ir.Value]:
    """Returns the values that depend on what is fed (rule 1)."""
    varying = set(fed)
    for node in graph:
        if node.op_type not in ("Shape", "Size") and not varying.isdisjoint(read_values(node)):
            varying.update(node.outputs)
    return varying


def _shell(array: Array) -> Array:
    """Returns an array of that type and shape, of one element's memory."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


def _obstacle(node: ir.Node, arrays: Arrays, varying: set[ir.Value]) -> str:
    """Returns why a node that can be computed is left out (rules 2 and 3); nothing if it is not."""
    if _computes_floats(node, arrays):
        return "it computes floats"
    how = {value for value in node.inputs[1:] if value is not None}
    if node.op_type in _TOLD_HOW and not varying.isdisjoint(how):
        return "what it does with its input depends on the data"
    return ""


def _computes_floats(node: ir.Node, arrays: Arrays) -> bool:
    """Rule 2."""
    values = [*node.inputs, *node.outputs]
    dtypes = {arrays[value].dtype for value in values if value is not None and value in arrays}
    return node.op_type not in _ON_FLOATS and not all(
        is_integer(dtype) or dtype.kind == "b" for dtype in dtypes
    )


def _outputs(
    graph: ir.Graph, varying: set[ir.Value], known: set[ir.Value], nodes: list[ir.Node]
) -> list[ir.Value]:
    made = [value for node in nodes for value in node.outputs]
    outside = [
        node
        for node in graph
        if not varying.isdisjoint(node.outputs) and known.isdisjoint(node.outputs)
    ]
    read = {value for node in outside for value in read_values(node)}
    ends = [value for value in graph.outputs if value in known]
    return list(dict.fromkeys([*ends, *(value for value in made if value in read)]))


def _every_value(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs
