"""What a legal model is, before and after quantization.

Every stage may rely on these rules, and a stage that breaks one has an error of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.spec_qdq import violations_of_qdq_node
from onnxq.graph.stripped import strip_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_float", "check_qdq", "violations_float", "violations_qdq"]

LOWEST_OPSET = 21


def check_float(model: ir.Model) -> None:
    """Raises :class:`ModelError` with the first violation of :func:`violations_float`."""
    _raise_first(violations_float(model))


def check_qdq(model: ir.Model) -> None:
    """Raises :class:`ModelError` with the first violation of :func:`violations_qdq`."""
    _raise_first(violations_qdq(model))


def violations_float(model: ir.Model) -> list[str]:
    """Lists what keeps ``model`` from being a legal normalized model.

    1. The default operator set is 21 or newer, and there are no functions.
    2. Every node, and every value that is used, has a name; no two nodes and no two values share
       one, over all graphs.
    3. What a node reads is a graph input, a weight with data, or comes from an earlier node, in its
       own graph or an outer one; what a graph gives out does too.
    4. ONNX's checker accepts it (asked only if all else is right).
    """
    found = [*_versions(model), *_names(model), *_sources(model.graph, set())]
    return found or list(_checker(model))


def violations_qdq(model: ir.Model) -> list[str]:
    """Lists what keeps ``model`` from being a legal quantized model in QDQ form.

    It keeps the rules of :func:`violations_float`, and each of its quantize and dequantize nodes
    those of :func:`onnxq.graph.spec_qdq.violations_of_qdq_node`.
    """
    found = violations_float(model)
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            found += violations_of_qdq_node(node)
    return found


def _raise_first(violations: list[str]) -> None:
    if not violations:
        return
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    raise ModelError(f"the model is not legal: {violations[0]}{more}")


def _versions(model: ir.Model) -> Iterator[str]:
    opset = model.graph.opset_imports.get("")
    if opset is None:
        yield "it does not say which opset it uses"
    elif opset < LOWEST_OPSET:
        yield f"opset {opset} is older than {LOWEST_OPSET}"
    if model.functions:
        yield f"it has {len(model.functions)} functions of its own"


def _names(model: ir.Model) -> Iterator[str]:
    nodes: set[str] = set()
    values: dict[str, ir.Value] = {}
    for graph in model.graphs():
        for value in (*graph.inputs, *graph.initializers.values()):
            yield from _value_name(value, values)
        for node in graph:
            if not node.name:
                yield f"a node of type {node.op_type} has no name"
            elif node.name in nodes:
                yield f"two nodes are called '{node.name}'"
            nodes.add(node.name or "")
            for output in node.outputs:
                yield from _value_name(output, values)


def _value_name(value: ir.Value, seen: dict[str, ir.Value]) -> Iterator[str]:
    if not value.name:
        if value.uses() or value.is_graph_output():
            yield "a value that is used has no name"
    elif seen.setdefault(value.name, value) is not value:
        yield f"two values are called '{value.name}'"


def _sources(graph: ir.Graph, outer: set[ir.Value]) -> Iterator[str]:
    known = outer | set(graph.inputs)
    for name, value in graph.initializers.items():
        if value.const_value is None:
            yield f"weight '{name}' has no data"
        known.add(value)
    for node in graph:
        for source in node.inputs:
            if source is not None and source not in known:
                yield f"node '{node.name}' reads '{source.name}', which nothing before it produces"
        for inner in _subgraphs(node):
            yield from _sources(inner, known)
        known.update(node.outputs)
    for value in graph.outputs:
        if value not in known:
            yield f"graph output '{value.name}' is not produced"


def _subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def _checker(model: ir.Model) -> Iterator[str]:
    proto, _ = strip_weights(model)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        yield " ".join(str(error).split())
