"""Integers at the borders too: a model that takes and gives codes, their meaning in its metadata.

The metadata property :data:`KEY` holds JSON: name of an input or output → type, scale (a number, or
one for each channel), zero_point and, with channels, axis. A real is scale · (code - zero_point).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.edit import remove_node
from onnxq.graph.query import is_op, weight_of
from onnxq.graph.roles import attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KEY", "with_integer_io"]

KEY = "onnxq.io"
_HINT = "leave --io integer out, or cut the model there"


def with_integer_io(model: ir.Model) -> ir.Model:
    """Returns a model without the quantization at its inputs and the dequantization at its outputs.

    Args:
        model: Integer-only between these; it stays as it is.

    Raises:
        ModelError: Something at the inputs or outputs computes in float; the message names it.
    """
    made = model.clone()
    graph, meanings = made.graph, {}
    for position, value in enumerate(list(graph.inputs)):
        if value.dtype is not None and value.dtype.is_floating_point():
            name = str(value.name)
            meanings[name] = _take_codes(graph, position, value)
    for position, value in enumerate(list(graph.outputs)):
        if value.dtype is None or value.dtype.is_floating_point():
            name = str(value.name)
            meanings[name] = _give_codes(graph, position, value)
    made.metadata_props[KEY] = json.dumps(meanings)
    return made


def _take_codes(graph: ir.Graph, position: int, value: ir.Value) -> Mapping[str, Any]:
    readers = list(dict.fromkeys(value.consumers()))
    quantizes = [node for node in readers if is_op(node, "QuantizeLinear")]
    other = [n for n in readers if n not in quantizes and not is_op(n, "Shape", "Size")]
    if other or not quantizes or value.is_graph_output():
        place = f"node '{other[0].name}' ({other[0].op_type})" if other else "nothing on integers"
        raise ModelError(f"input '{value.name}' is read by {place}; {_HINT}")
    meaning, *others = (_meaning(node, node.outputs[0]) for node in quantizes)
    if any(another != meaning for another in others):
        raise ModelError(f"input '{value.name}' is quantized in several ways; {_HINT}")
    first = quantizes[0].outputs[0]
    codes = ir.Value(name=value.name, shape=value.shape, type=first.type)
    for node in quantizes:
        node.outputs[0].replace_all_uses_with(codes, replace_graph_outputs=True)
    graph.inputs[position] = codes
    for node in quantizes:
        remove_node(node)
    value.replace_all_uses_with(codes)
    return meaning


def _give_codes(graph: ir.Graph, position: int, value: ir.Value) -> Mapping[str, Any]:
    node = value.producer()
    codes = node.inputs[0] if node is not None else None
    if node is None or codes is None or not is_op(node, "DequantizeLinear") or value.uses():
        place = f"node '{node.name}' ({node.op_type})" if node is not None else "an input"
        raise ModelError(f"output '{value.name}' is float, from {place}; {_HINT}")
    meaning, name = _meaning(node, codes), value.name
    given = ir.Value(name=name, shape=value.shape, type=codes.type)
    copy = ir.node("Identity", [codes], outputs=[given], name=f"{node.name}_codes")
    graph.insert_after(node, copy)
    graph.outputs[position] = given
    value.name = f"{name}_real"
    remove_node(node)
    return meaning


def _meaning(node: ir.Node, codes: ir.Value) -> Mapping[str, Any]:
    scale = weight_of(node.inputs[1])
    zero = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
    assert scale is not None, "what was lowered has constant scales"
    assert codes.dtype is not None
    meaning: dict[str, Any] = {
        "type": codes.dtype.name.lower(),
        "scale": scale.tolist(),
        "zero_point": 0 if zero is None else zero.tolist(),
    }
    if scale.ndim:
        meaning["axis"] = int(attribute(node, "axis", 1))
    return meaning
