"""Named arrays in one .npz file whose bytes depend on nothing but the arrays."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.atomic import pending_file
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["read_arrays", "write_arrays"]

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes ``arrays`` to ``path`` as .npz, whole or not at all.

    Args:
        path: The file; its folder must exist.
        arrays: Name → array of a plain numeric dtype.

    Raises:
        OutputError: The file cannot be written.
    """
    with (
        pending_file(path, "statistics") as pending,
        pending.open("wb") as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        for key in sorted(arrays):
            entry = zipfile.ZipInfo(f"{key}.npy", date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, arrays[key], allow_pickle=False)


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Returns what :func:`write_arrays` wrote.

    Raises:
        DataError: The file is missing or is no such archive.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except OSError as error:
        reason = error.strerror or "not an .npz archive"
        raise DataError(f"cannot read statistics from {path}: {reason}") from error
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read statistics from {path}: not an .npz archive") from error
