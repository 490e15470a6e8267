"""Refuses external weight data that is missing, cut short or outside the model's folder.

Data outside the folder is refused because a model from a stranger could otherwise make the program
read, and write into its output, any file of the user.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.inventory import all_tensors

__all__ = ["attach_external_data", "external_tensors", "mapped_files", "size_on_disk"]


def external_tensors(model: ir.Model) -> list[ir.ExternalTensor]:
    """Returns the arrays of ``model`` that lie in files of their own, each once."""
    found = [tensor for tensor in all_tensors(model) if isinstance(tensor, ir.ExternalTensor)]
    return list({id(tensor): tensor for tensor in found}.values())


def mapped_files(model: ir.Model) -> set[Path]:
    """Returns the files, links resolved, that the model's external arrays are read from."""
    return {Path(os.path.realpath(tensor.path)) for tensor in external_tensors(model)}


def attach_external_data(model: ir.Model, folder: Path | None) -> None:
    """Lets external arrays find their files, after checking each of them.

    Args:
        model: The model; its external arrays get ``folder`` as base.
        folder: The model's folder; None keeps the base that each array has.

    Raises:
        ModelError: A file is missing, unreadable, too short, or outside the folder.
    """
    sizes: dict[str, int] = {}
    for tensor in external_tensors(model):
        if folder is not None:
            tensor.base_dir = folder.resolve()
        elif not tensor.base_dir:
            raise ModelError(
                f"weight '{tensor.name}' is in the external file '{tensor.location}', whose folder "
                "is unknown here; pass the model's path instead of its contents"
            )
        location = os.fspath(tensor.location)
        if location not in sizes:
            sizes[location] = _checked_size(tensor)
        _refuse_short(tensor, sizes[location])


def _checked_size(tensor: ir.ExternalTensor) -> int:
    """Returns the size in bytes of an array's file, which is safe to read."""
    what = f"external data '{tensor.location}' of weight '{tensor.name}'"
    folder = Path(tensor.base_dir).resolve()
    path = Path(os.path.normpath(folder / tensor.location))
    if Path(tensor.location).is_absolute() or not path.is_relative_to(folder):
        raise ModelError(f"{what} is outside the model's folder; put the file beside the model")
    if not path.resolve().is_relative_to(folder):
        raise ModelError(
            f"{what} is a link that leads outside the model's folder; copy the file itself there"
        )
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
    except FileNotFoundError:
        raise ModelError(f"{what} is missing; put the file beside the model") from None
    except OSError as error:
        raise ModelError(f"{what} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{what} is not a regular file")
    if status.st_nlink > 1:
        raise ModelError(f"{what} has several hard links; replace it by a copy of its own")
    return status.st_size


def _refuse_short(tensor: ir.ExternalTensor, size: int) -> None:
    where = f"weight '{tensor.name}' in external data '{tensor.location}'"
    start = tensor.offset or 0
    if start < 0 or (tensor.length is not None and tensor.length < tensor.nbytes):
        raise ModelError(f"{where} has a damaged offset or length; export the model again")
    if start + tensor.nbytes > size:
        raise ModelError(
            f"{where} is cut short: it needs {start + tensor.nbytes} bytes, the file has {size}; "
            "copy or download it again"
        )


def size_on_disk(path: str | os.PathLike[str], model: ir.Model) -> int:
    """Returns the bytes of a model's file and of the arrays that it keeps outside.

    Args:
        path: The file that ``model`` was read from.
        model: Its arrays may be mapped still.
    """
    return Path(path).stat().st_size + sum(tensor.nbytes for tensor in external_tensors(model))
