"""What a model holds that decides whether it can be optimized at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "all_nodes",
    "all_tensors",
    "premature_operators",
    "quantized_nodes",
    "unknown_domains",
]

_KNOWN_DOMAINS = frozenset(
    {
        "",
        "ai.onnx.ml",
        "ai.onnx.contrib",
        "com.microsoft",
        "com.microsoft.extensions",
        "com.microsoft.nchwc",
        "com.ms.internal.nhwc",
    }
)

_QUANTIZED_OPS = frozenset(
    {
        "BiasDequantize",
        "ConvInteger",
        "DequantizeLinear",
        "DequantizeWithOrder",
        "GatherBlockQuantized",
        "MatMulBnb4",
        "MatMulFpQ4",
        "MatMulInteger",
        "MatMulInteger16",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "MulInteger",
        "QAttention",
        "QEmbedLayerNormalization",
        "QGemm",
        "QMoE",
        "QuantizeLinear",
        "QuantizeWithOrder",
        "ReduceSumInteger",
    }
)
_QUANTIZED_PREFIXES = ("QLinear", "DynamicQuantize", "QOrdered")


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yields every node: of the graph, its subgraphs and the model's functions."""
    yield from ir.traversal.RecursiveGraphIterator(model.graph)
    for function in model.functions.values():
        yield from ir.traversal.RecursiveGraphIterator(function)


def all_tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Yields every stored array: initializers of all graphs and attributes of all nodes."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value
    for node in all_nodes(model):
        for attribute in node.attributes.values():
            if attribute.is_ref():
                continue
            if attribute.type == ir.AttributeType.TENSOR:
                yield attribute.as_tensor()
            elif attribute.type == ir.AttributeType.TENSORS:
                yield from attribute.as_tensors()


def quantized_nodes(model: ir.Model) -> list[str]:
    """Names the nodes that are quantized already.

    Returns:
        ``"name (operator)"`` of each quantized node, in graph order; empty for a float model.
    """
    return [
        f"{node.name or node.outputs[0].name} ({node.op_type})"
        for node in all_nodes(model)
        if node.op_type in _QUANTIZED_OPS or node.op_type.startswith(_QUANTIZED_PREFIXES)
    ]


def unknown_domains(model: ir.Model) -> dict[str, list[str]]:
    """Lists the operators that neither the standard, the runtime nor the model itself defines.

    Returns:
        Sorted operator types by domain, sorted; empty when all operators are known.
    """
    found: dict[str, set[str]] = {}
    for node in all_nodes(model):
        if node.domain in _KNOWN_DOMAINS or node.op_identifier() in model.functions:
            continue
        found.setdefault(node.domain, set()).add(node.op_type)
    return {domain: sorted(found[domain]) for domain in sorted(found)}


def premature_operators(model: ir.Model) -> dict[str, int]:
    """Lists the standard operators that are newer than the model's opset.

    Returns:
        Operator type → first opset that has it, in graph order; empty for a consistent model.
    """
    opset = model.graph.opset_imports.get("")
    if opset is None:
        return {}
    first: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            since = schema.since_version
            first[schema.name] = min(since, first.get(schema.name, since))
    used = [node.op_type for node in all_nodes(model) if node.domain == ""]
    return {op: first[op] for op in used if first.get(op, 0) > opset}
