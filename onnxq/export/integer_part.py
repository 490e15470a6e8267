"""The part of a model that a program without float arithmetic runs: up to its last borders.

1. What depends on constants alone is no part of it, and neither are shapes.
2. Floats are quantized, dequantized and moved, and not computed with.
3. What the reference has no arithmetic for is left out, and so is all that comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from onnxq.errors import ModelError
from onnxq.export.flat_nodes import MOVES
from onnxq.graph.query import read_values
from onnxq.passbase import node_label
from onnxq.reference import evaluate
from onnxq.reference.integers import is_integer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[Any]
    Arrays = Mapping[ir.Value, Array]

__all__ = ["IntegerPart", "integer_part"]

_ON_FLOATS = frozenset(("Concat", "DequantizeLinear", "Gather", "Pad", "QuantizeLinear", *MOVES))


class IntegerPart(NamedTuple):
    """What is run, of one run.

    Attributes:
        nodes: In graph order.
        arrays: All values that were computed, constants among them.
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
    left_out: list[str] = []
    found = evaluate(model, feed, _every_name(graph), refused=lambda e: left_out.append(str(e)))
    arrays = dict(found)
    fed = [value for value in graph.inputs if value.const_value is None]
    varying, known, nodes = set(fed), set(fed), []
    for node in graph:
        read = varying.intersection(read_values(node))
        if not read or node.op_type in ("Shape", "Size"):
            continue
        varying.update(node.outputs)
        if not read <= known or node.outputs[0] not in arrays:
            continue
        if _computes_floats(node, arrays):
            left_out.append(f"node '{node_label(node)}' ({node.op_type}): it computes floats")
            continue
        known.update(node.outputs)
        nodes.append(node)
    if not nodes:
        raise ModelError(f"it has no integer part: {next(iter(left_out), 'it is empty')}")
    outputs = _outputs(graph, varying, known, nodes)
    return IntegerPart(nodes, arrays, fed, outputs, left_out)


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


def _every_name(graph: ir.Graph) -> list[str]:
    values = [*graph.inputs, *graph.initializers.values()]
    values += [value for node in graph for value in node.outputs]
    return [value.name for value in values if value.name]
