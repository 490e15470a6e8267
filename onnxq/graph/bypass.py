"""Takes out a node that passes its first input on unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["try_bypass"]


def try_bypass(node: ir.Node) -> str | None:
    """Lets the consumers of ``node`` read its first input, and removes the node.

    1. An output that only nodes read is replaced by the input.
    2. An output of the node's graph is too, if the input comes from a node of the same graph and
       is no output itself; the input takes over the output's name, type and shape.
    3. Everything else stays: a graph's input, weight, or value from an outer graph cannot be its
       output, and one value cannot be two outputs.

    Args:
        node: Computes ``outputs[0] = inputs[0]``; its other outputs are unused.

    Returns:
        None if it is gone, otherwise why it stays.
    """
    source, result = node.inputs[0], node.outputs[0]
    graph = node.graph
    assert source is not None
    assert graph is not None
    is_output = result.is_graph_output()
    if is_output:
        producer = source.producer()
        if producer is None or producer.graph is not graph:
            return "it joins a value from outside the graph's nodes to a graph output"
        if source.is_graph_output():
            return "its input and its output are both graph outputs"
    _merge_info(source, result, overrule=is_output)
    result.replace_all_uses_with(source, replace_graph_outputs=True)
    name = result.name
    graph.remove(node, safe=True)
    if is_output:
        source.name = name
    return None


def _merge_info(source: ir.Value, result: ir.Value, *, overrule: bool) -> None:
    """Keeps on ``source`` what only ``result`` knew, or all that it said."""
    if overrule or source.type is None:
        source.type = result.type
    if overrule or source.shape is None:
        source.shape = result.shape
    for key, text in result.metadata_props.items():
        source.metadata_props.setdefault(key, text)
