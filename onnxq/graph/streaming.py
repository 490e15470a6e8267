"""Writes a model of many weights without making it anew in memory.

A protobuf is made in memory, twice: as an object and as bytes. But a message is its fields in any
order, and a list's entries may come in several places. So the model is serialized without its large
weights, and they are written behind it as what they are: further entries of the graph's list of
weights. The order of that list means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import onnx_ir as ir

from onnxq.graph.stored import chunks, embed_external, shape_of_array, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Container

    import onnx

__all__ = ["write_model"]

# A model of more weights than this is not serialized in one piece, but large weights one by one.
_STREAMED = 1 << 28
_LARGE = 1 << 20
_LEFT_OUT = "left out"
# Numbers of fields in onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def write_model(model: ir.Model, file: BinaryIO, keep: str | None = None) -> None:
    """Writes ``model`` to ``file``.

    Args:
        model: Nothing else may be done with it afterwards.
        file: Open for writing.
        keep: External weights in the file of that name stay there; all others are written. None if
            none stay.
    """
    large = {} if keep is not None else _take_out(model)
    embed_external(model, keep=keep or _LEFT_OUT)
    proto = ir.to_proto(model)
    parts = [
        (_head(entry, large[entry.name]), large[entry.name]) for entry in _entries(proto, large)
    ]
    if parts:
        graph = proto.graph.SerializeToString(deterministic=True)
        proto.ClearField("graph")
        size = len(graph) + sum(len(head) + data.nbytes for head, data in parts)
        file.write(proto.SerializeToString(deterministic=True) + _field(_GRAPH, size) + graph)
    else:
        file.write(proto.SerializeToString(deterministic=True))
    for head, data in parts:
        file.write(head)
        for chunk in chunks(data):
            file.write(chunk)


def _entries(proto: onnx.ModelProto, names: Container[str]) -> list[onnx.TensorProto]:
    """Takes the weights of those names out of the graph's list."""
    found = [entry for entry in proto.graph.initializer if entry.name in names]
    others = [entry for entry in proto.graph.initializer if entry.name not in names]
    copies = [type(entry).FromString(entry.SerializeToString()) for entry in found]
    if found:
        others = [type(entry).FromString(entry.SerializeToString()) for entry in others]
        proto.graph.ClearField("initializer")
        proto.graph.initializer.extend(others)
    return copies


def _head(entry: onnx.TensorProto, data: ir.TensorProtocol) -> bytes:
    """Returns the entry of a weight up to its data."""
    entry.ClearField("external_data")
    entry.ClearField("data_location")
    head: bytes = entry.SerializeToString(deterministic=True) + _field(_RAW_DATA, data.nbytes)
    return _field(_INITIALIZER, len(head) + data.nbytes) + head


def _take_out(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Puts references in the place of the large weights of the main graph, if they are many."""
    if weight_bytes(model) < _STREAMED:
        return {}
    found: dict[str, ir.TensorProtocol] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.dtype == ir.DataType.STRING or tensor.nbytes < _LARGE:
            continue
        found[name] = tensor
        value.const_value = ir.ExternalTensor(
            _LEFT_OUT, 0, tensor.nbytes, tensor.dtype, shape=shape_of_array(tensor), name=name
        )
    return found


def _field(number: int, size: int) -> bytes:
    """Returns what stands in a protobuf message before a field of ``size`` bytes."""
    head = bytearray([number << 3 | 2])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*head, size])
