"""Inputs and outputs in half precision, of a model that computes in it."""

from __future__ import annotations

import onnx_ir as ir

from onnxq.graph.qdq import GraphEditor
from onnxq.graph.query import is_op

__all__ = ["with_half_io"]

_HALF, _FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT


def with_half_io(model: ir.Model) -> ir.Model:
    """Returns the model with float16 in place of float32 at its inputs and outputs.

    A Cast at the border that this makes idle goes; what needs float32 within gets one.

    Args:
        model: Left as it is.
    """
    model = model.clone()
    editor = GraphEditor(model.graph)
    for value in model.graph.inputs:
        if value.dtype == _FLOAT and not value.is_initializer():
            _take_half(editor, value)
    for value in list(model.graph.outputs):
        if value.dtype == _FLOAT:
            _give_half(editor, value)
    return model


def _take_half(editor: GraphEditor, value: ir.Value) -> None:
    casts = [user for user in value.consumers() if _casts(user, _HALF)]
    uses = [(user, position) for user, position in value.uses() if user not in casts]
    value.type = ir.TensorType(_HALF)
    for cast in casts:
        for user, position in list(cast.outputs[0].uses()):
            user.replace_input_with(position, value)
        if not cast.outputs[0].is_graph_output():
            editor.graph.remove(cast, safe=True)
    if uses:
        real = editor.cast(value, _FLOAT, stem=f"{value.name}_float")
        for user, position in uses:
            user.replace_input_with(position, real)


def _give_half(editor: GraphEditor, value: ir.Value) -> None:
    producer, name = value.producer(), str(value.name)
    before = producer.inputs[0] if producer is not None and _casts(producer, _FLOAT) else None
    if value.uses() or before is None or before.dtype != _HALF or _is_border(before):
        before = None
    value.name = editor.fresh(f"{name}_real")
    given = before or editor.cast(value, _HALF, stem=f"{name}_half", after=producer)
    outputs = editor.graph.outputs
    outputs[list(outputs).index(value)] = given
    given.name = name
    if before is not None and producer is not None:
        editor.graph.remove(producer, safe=True)


def _casts(node: ir.Node, dtype: ir.DataType) -> bool:
    return is_op(node, "Cast") and node.attributes.get_int("to", 0) == int(dtype)


def _is_border(value: ir.Value) -> bool:
    return value.is_graph_input() or value.is_graph_output()
