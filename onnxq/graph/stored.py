"""The weights of a model as bytes, wherever they lie."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "chunks",
    "embed_external",
    "initializers",
    "serialize",
    "shape_of_array",
    "weight_bytes",
]

_CHUNK = 1 << 24


def initializers(model: ir.Model) -> list[ir.Value]:
    """Returns all weights of ``model`` but strings, those of subgraphs included."""
    return [
        value
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None and value.const_value.dtype != ir.DataType.STRING
    ]


def shape_of_array(tensor: ir.TensorProtocol) -> ir.Shape:
    """Returns the shape of ``tensor``, as a new one of its kind needs it."""
    return ir.Shape(tensor.shape.numpy())


def chunks(tensor: ir.TensorProtocol) -> Iterator[bytes | memoryview]:
    """Yields the stored bytes of an array; of a mapped one without taking it into memory."""
    if not tensor.nbytes:
        return
    if tensor.dtype.bitwidth < 8 or sys.byteorder != "little":
        yield tensor.tobytes()[: tensor.nbytes]
        return
    flat = np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK].data


def weight_bytes(model: ir.Model) -> int:
    """Returns the bytes that the weights of ``model`` take as they are stored."""
    return sum(value.const_value.nbytes for value in initializers(model) if value.const_value)


def serialize(model: ir.Model) -> bytes:
    """Returns the protobuf of ``model``; equal models give equal bytes."""
    data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return data


def embed_external(model: ir.Model, keep: str | None) -> None:
    """Takes external arrays into memory, except those in the file named ``keep``."""
    for value in initializers(model):
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and tensor.location != keep:
            value.const_value = _in_memory(tensor)
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for attribute in list(node.attributes.values()):
            if attribute.type != ir.AttributeType.TENSOR or attribute.is_ref():
                continue
            tensor = attribute.as_tensor()
            if isinstance(tensor, ir.ExternalTensor):
                node.attributes.add(ir.AttrTensor(attribute.name, _in_memory(tensor)))


def _in_memory(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    return ir.Tensor(
        tensor.numpy(), dtype=tensor.dtype, shape=shape_of_array(tensor), name=tensor.name
    )
