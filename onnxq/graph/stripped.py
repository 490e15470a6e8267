"""A model's structure as a small protobuf, for ONNX's own tools, and back.

ONNX's shape inference, checker and version converter take protobufs, which hold less than 2 GB and
are copied several times on the way. They need small constants (axes, shapes) but no large weights,
which therefore travel as graph inputs and are put back afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

__all__ = ["put_back_weights", "strip_weights"]

_LARGE = 1024


def strip_weights(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol]]:
    """Serializes ``model`` without its large weights.

    Args:
        model: Values of different graphs must have different names. Left as it is.

    Returns:
        The protobuf, in which each large weight is a graph input behind the real ones; and the
        weights by name.
    """
    copy = model.clone()
    weights: dict[str, ir.TensorProtocol] = {}
    for graph in copy.graphs():
        for name, value in list(graph.initializers.items()):
            tensor = value.const_value
            if tensor is None or value.is_graph_input() or value.is_graph_output():
                continue
            if tensor.dtype == ir.DataType.STRING or tensor.nbytes <= _LARGE:
                continue
            value.type = ir.TensorType(tensor.dtype)
            value.shape = ir.Shape(tensor.shape.numpy())
            value.const_value = None
            graph.initializers.pop(name)
            copy.graph.inputs.append(value)
            weights[name] = tensor
    return ir.to_proto(copy), weights


def put_back_weights(model: ir.Model, weights: Mapping[str, ir.TensorProtocol]) -> None:
    """Turns the inputs of the main graph that :func:`strip_weights` added into weights again."""
    inputs = [value for value in model.graph.inputs if value.name not in weights]
    added = [value for value in model.graph.inputs if value.name in weights]
    model.graph.inputs.clear()
    model.graph.inputs.extend(inputs)
    for value in added:
        assert value.name is not None
        value.const_value = weights[value.name]
        if value.uses():
            model.graph.register_initializer(value)
