"""Refuses files that hold no usable model, each with one line for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.opset import NEWEST_IR, NEWEST_OPSET, OLDEST_IR

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["first_line", "refuse_damaged"]


def refuse_damaged(proto: onnx.ModelProto, where: str) -> None:
    """Raises :class:`ModelError` if ``proto`` cannot be read faithfully.

    1. It has a graph with outputs, an IR version and an operator set, none newer than known here.
    2. No weight is stored sparse, which would be lost, or with fewer bytes than its shape asks for.
    3. No input and no weight is declared twice, and everything that is read is declared.

    Args:
        proto: What the file holds.
        where: The file, for the message.
    """
    _refuse_incomplete(proto, where)
    _refuse_version(proto, where)
    for graph in _graphs(proto.graph):
        _refuse_sparse(graph, where)
        _refuse_duplicates(graph, where)
        for tensor in graph.initializer:
            _refuse_cut(tensor, where)
    _refuse_dangling(proto.graph, frozenset(), where)


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or its type's name if it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _refuse_incomplete(proto: onnx.ModelProto, where: str) -> None:
    if not proto.HasField("graph") or not proto.ir_version:
        raise ModelError(f"{where}: is not an ONNX model: it holds no graph; export it again")
    if not proto.opset_import:
        raise ModelError(f"{where}: is truncated: it names no operator set; export it again")
    if not proto.graph.output:
        raise ModelError(f"{where}: the graph has no outputs; export the model again")


def _refuse_version(proto: onnx.ModelProto, where: str) -> None:
    if proto.ir_version > NEWEST_IR:
        raise ModelError(
            f"{where}: IR version {proto.ir_version} is newer than {NEWEST_IR}, the newest known "
            "here; export the model with an older version of its tool"
        )
    if proto.ir_version < OLDEST_IR:
        raise ModelError(
            f"{where}: IR version {proto.ir_version} is older than {OLDEST_IR}, the oldest known "
            "here; export the model again"
        )
    for opset in proto.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version > NEWEST_OPSET:
            raise ModelError(
                f"{where}: opset {opset.version} is newer than {NEWEST_OPSET}, the newest known "
                f"here; export the model with opset {NEWEST_OPSET} or lower"
            )


def _refuse_sparse(graph: onnx.GraphProto, where: str) -> None:
    names = [tensor.values.name for tensor in graph.sparse_initializer]
    for node in graph.node:
        names += [
            node.name or node.output[0]
            for attribute in node.attribute
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors
        ]
    if names:
        raise ModelError(
            f"{where}: weight '{names[0]}' is stored sparse, which is not supported; "
            "export the model with dense weights"
        )


def _refuse_duplicates(graph: onnx.GraphProto, where: str) -> None:
    for kind, items in (("input", graph.input), ("initializer", graph.initializer)):
        seen: set[str] = set()
        for item in items:
            if item.name in seen:
                raise ModelError(
                    f"{where}: is damaged: {kind} '{item.name}' is declared twice; export it again"
                )
            seen.add(item.name)


def _refuse_cut(tensor: onnx.TensorProto, where: str) -> None:
    if not tensor.HasField("raw_data") or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return
    try:
        expected = ir.serde.deserialize_tensor(tensor).nbytes
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{where}: is damaged: weight '{tensor.name}': {first_line(error)}"
        ) from None
    if len(tensor.raw_data) != expected:
        raise ModelError(
            f"{where}: is damaged: weight '{tensor.name}' holds {len(tensor.raw_data)} bytes "
            f"where its shape asks for {expected}; export it again"
        )


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yields a graph and the graphs in its nodes' attributes, at any depth."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
            for inner in attribute.graphs:
                yield from _graphs(inner)


def _refuse_dangling(graph: onnx.GraphProto, outer: frozenset[str], where: str) -> None:
    known = set(outer) | {""}
    known |= {item.name for item in (*graph.input, *graph.initializer)}
    known |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            if name not in known:
                raise ModelError(
                    f"{where}: is damaged: node '{node.name or node.output[0]}' reads '{name}', "
                    "which nothing produces; export it again"
                )
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _refuse_dangling(inner, frozenset(known), where)
    for output in graph.output:
        if output.name not in known:
            raise ModelError(
                f"{where}: is damaged: nothing produces the output '{output.name}'; export it again"
            )
