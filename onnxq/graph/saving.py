"""Writes a model so that a reader sees the old file or the new one, never a part.

Everything is written to temporary files in the target's folder first, then renamed. Whatever goes
wrong before the rename, Ctrl-C included, the temporary files are removed and an existing target
stays as it was.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import onnx_ir as ir

from onnxq.atomic import replace_all, temporary_beside
from onnxq.errors import OutputError
from onnxq.graph.external import mapped_files
from onnxq.graph.stored import (
    chunks,
    embed_external,
    initializers,
    serialize,
    shape_of_array,
    weight_bytes,
)
from onnxq.graph.streaming import write_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "Pending",
    "check_target",
    "fingerprint",
    "pending_model",
    "save",
    "to_bytes",
    "written_size",
]

# Protobuf holds less than 2 GiB; the graph itself needs room beside the weights.
_PROTOBUF_LIMIT = 1.9e9
# Smaller weights stay in the model's own file even if the others leave it.
_SMALL = 1024


class Pending(NamedTuple):
    """A model that is written beside its target, not in its place yet.

    Attributes:
        files: The targets: the model, then its data file if there is one.
        size: Bytes of all of them.
    """

    files: list[Path]
    size: int


def save(
    model: ir.Model,
    path: str | os.PathLike[str],
    *,
    external_above: float = 1.5e9,
    protect: Iterable[str | os.PathLike[str]] = (),
) -> list[Path]:
    """Writes ``model`` to ``path``, all or nothing; arguments and errors of :func:`pending_model`.

    Returns:
        The files written: the model, then its data file if there is one.
    """
    with pending_model(model, path, external_above=external_above, protect=protect) as pending:
        return pending.files


@contextlib.contextmanager
def pending_model(
    model: ir.Model,
    path: str | os.PathLike[str],
    *,
    external_above: float = 1.5e9,
    protect: Iterable[str | os.PathLike[str]] = (),
) -> Iterator[Pending]:
    """Writes ``model`` beside ``path``, and puts it there when the block ends without an error.

    Args:
        model: Left as it is.
        path: Target; an existing file is replaced in one step.
        external_above: Weights of more bytes than this in all go to ``<path>.data``.
        protect: Files never to overwrite, such as the one the model was read from.

    Raises:
        OutputError: The target is not allowed or cannot be written.
    """
    target = check_target(model, path, protect=protect)
    data = target.with_name(target.name + ".data")
    external = weight_bytes(model) > min(external_above, _PROTOBUF_LIMIT)
    if external:
        _refuse_mapped(model, data, protect)
    copy = model.clone()
    with contextlib.ExitStack() as stack:
        pairs = []
        with _output_errors(target):
            if external:
                temporary = stack.enter_context(temporary_beside(target))
                _write_file(temporary, lambda file: _move_weights(copy, file, data.name))
                pairs.append((temporary, data))
            temporary = stack.enter_context(temporary_beside(target))
            keep = data.name if external else None
            _write_file(temporary, lambda file: write_model(copy, file, keep))
            pairs.append((temporary, target))
            size = sum(written.stat().st_size for written, _ in pairs)
        yield Pending([target, data] if external else [target], size)
        with _output_errors(target):
            replace_all(pairs)


def check_target(
    model: ir.Model,
    path: str | os.PathLike[str],
    *,
    protect: Iterable[str | os.PathLike[str]] = (),
) -> Path:
    """Finds out early whether ``path`` can be written, leaving no trace.

    Args:
        model: Its external weights must not be overwritten.
        path: Where a model is to be written.
        protect: Files never to overwrite.

    Returns:
        The target, links resolved.

    Raises:
        OutputError: It cannot.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputError(f"{path}: is a folder; name the file to write with -o")
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: is not a regular file; name another one with -o")
    if not target.parent.is_dir():
        raise OutputError(f"{path}: the folder does not exist; make it first")
    _refuse_mapped(model, target, protect)
    if target.exists() and not os.access(target, os.W_OK):
        raise OutputError(f"{path}: no permission to replace it; name another file with -o")
    with _output_errors(target), temporary_beside(target):
        pass
    return target


def to_bytes(model: ir.Model) -> bytes:
    """Serializes ``model`` with all its weights inside; equal models give equal bytes.

    Raises:
        OutputError: The weights are too large for one protobuf.
    """
    if weight_bytes(model) > _PROTOBUF_LIMIT:
        raise OutputError(
            f"the model's weights take {weight_bytes(model) / 1e9:.1f} GB, too much for one "
            "protobuf; save it to a file instead"
        )
    copy = model.clone()
    embed_external(copy, keep=None)
    return serialize(copy)


def written_size(model: ir.Model) -> int:
    """Returns the bytes of the file that ``model`` becomes.

    Of a model too large for one protobuf, those of its weights alone: the graph is nothing to them.
    """
    if weight_bytes(model) > _PROTOBUF_LIMIT:
        return weight_bytes(model)
    return len(to_bytes(model))


def fingerprint(model: ir.Model) -> str:
    """Returns a SHA-256 over structure, names, attributes and weights, in hexadecimal.

    Where the weights lie (inside, outside) does not matter, only what they are.
    """
    digest = hashlib.sha256()
    copy = model.clone()
    for value in initializers(copy):
        tensor = value.const_value
        assert tensor is not None
        weight = hashlib.sha256()
        for chunk in chunks(tensor):
            weight.update(chunk)
        digest.update(weight.digest())
        value.const_value = ir.ExternalTensor(
            "-", 0, tensor.nbytes, tensor.dtype, shape=shape_of_array(tensor), name=value.name or ""
        )
    digest.update(serialize(copy))
    return digest.hexdigest()


def _move_weights(model: ir.Model, file: BinaryIO, name: str) -> None:
    """Writes all but the small weights to ``file``, leaving references to ``name``."""
    offset = 0
    for value in initializers(model):
        tensor = value.const_value
        assert tensor is not None
        if tensor.nbytes < _SMALL:
            continue
        for chunk in chunks(tensor):
            file.write(chunk)
        value.const_value = ir.ExternalTensor(
            name,
            offset,
            tensor.nbytes,
            tensor.dtype,
            shape=shape_of_array(tensor),
            name=value.name or "",
        )
        offset += tensor.nbytes


def _refuse_mapped(
    model: ir.Model, target: Path, protect: Iterable[str | os.PathLike[str]]
) -> None:
    taken = mapped_files(model) | {Path(os.path.realpath(path)) for path in protect}
    if target in taken:
        raise OutputError(
            f"{target}: belongs to the model or the data that is being read;"
            " name another file with -o"
        )


def _write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    with path.open("wb") as file:
        write(file)


@contextlib.contextmanager
def _output_errors(target: Path) -> Iterator[None]:
    """Turns what the file system says into one line for the user."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "no space left there; free some or name another folder with -o"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = f"no permission to write in {target.parent}; name another folder with -o"
        else:
            reason = f"cannot be written: {error.strerror or error}"
        raise OutputError(f"{target}: {reason}") from None
