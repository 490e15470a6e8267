"""Reads a model from wherever it is, or says in one line why not.

Weights in external files stay mapped: reading a model of gigabytes costs no memory. Writing is in
:mod:`onnxq.graph.saving`, whose functions are named here too.
"""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.external import attach_external_data
from onnxq.graph.inventory import premature_operators, quantized_nodes, unknown_domains
from onnxq.graph.opset import minimal_ir_version
from onnxq.graph.refusals import first_line, refuse_damaged
from onnxq.graph.saving import (
    check_target,
    fingerprint,
    pending_model,
    save,
    to_bytes,
    written_size,
)

__all__ = [
    "ModelSource",
    "check_target",
    "fingerprint",
    "load",
    "minimal_ir_version",
    "pending_model",
    "premature_operators",
    "quantized_nodes",
    "save",
    "to_bytes",
    "unknown_domains",
    "written_size",
]


ModelSource = str | os.PathLike[str] | bytes | onnx.ModelProto | ir.Model


def load(source: ModelSource) -> ir.Model:
    """Reads a model.

    Args:
        source: A path, the bytes of a file, a protobuf, or a model in memory (which is cloned; the
            caller's object is never edited).

    Returns:
        The model as it was written; nothing is normalized.

    Raises:
        ModelError: It cannot be read, is no ONNX model, is damaged, or is too new.
    """
    if isinstance(source, ir.Model):
        attach_external_data(source, None)
        return source.clone()
    if isinstance(source, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(source)
        return _from_proto(proto, "model", None)
    if isinstance(source, bytes):
        return _from_proto(_parse(source, "model"), "model", None)
    if isinstance(source, str | os.PathLike):
        if not os.fspath(source):
            raise ModelError("the path of the model is empty; name the .onnx file")
        path = Path(source)
        return _from_proto(_parse(_read(path), str(path)), str(path), path.parent)
    raise ModelError(
        f"a model is a path, bytes, onnx.ModelProto or onnx_ir.Model, not {type(source).__name__}"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise ModelError(f"{path}: is a folder; name the .onnx file in it") from None
    except PermissionError:
        raise ModelError(f"{path}: no permission to read it; check the file's mode") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path!s}: cannot be read: {first_line(error)}") from None


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise ModelError(f"{where}: is empty; copy or download the model again")
    if data.startswith(b"version https://git-lfs"):
        raise ModelError(f"{where}: is a Git LFS pointer, not the model; run 'git lfs pull'")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception:  # protobuf's DecodeError, which is not an exported name of onnx
        raise ModelError(
            f"{where}: is not an ONNX model, or is truncated; copy or export it again"
        ) from None
    return proto


def _from_proto(proto: onnx.ModelProto, where: str, folder: Path | None) -> ir.Model:
    refuse_damaged(proto, where)
    try:
        model = ir.from_proto(proto)
    except Exception as error:
        cause = error.__cause__ or error
        reason = f": {first_line(cause)}" if isinstance(cause, ValueError) else ""
        raise ModelError(f"{where}: is damaged{reason}; export it again") from error
    try:
        attach_external_data(model, folder)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    return model
