"""Large arrays kept in files of their own, so that they take no memory while nobody reads them.

A model of gigabytes is read mapped (:mod:`onnxq.graph.io`): what the system needs the memory for,
it takes back, and reads again from the file. What a pass makes of such weights would have to stay
in memory, all of it at once. So each large array goes to a temporary file and is mapped from there.
The file has no name and ends with the last reader of the array. It lies where temporary files do
(``TMPDIR``); if that is a file system in memory, nothing is gained.
"""

from __future__ import annotations

import tempfile
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["kept"]

# Below this, a file costs more than it saves.
_LARGE = 1 << 24

ScalarT = TypeVar("ScalarT", bound=np.generic)


def kept(array: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
    """Returns ``array`` in C order, a copy of its own, read-only and on disk if it is large.

    An array of types that are not numpy's own stays in memory, and so does one that finds no room
    on the disk.
    """
    if _is_mapped(array):
        return array
    if array.nbytes < _LARGE or array.dtype.kind not in "biuf":
        return np.array(array, order="C")
    try:
        with tempfile.TemporaryFile() as file:
            np.ascontiguousarray(array).tofile(file)
            file.flush()
            found = np.memmap(file, array.dtype, "r", shape=array.shape)
            return found.view(np.ndarray)
    except OSError:
        return np.array(array, order="C")


def _is_mapped(array: npt.NDArray[Any]) -> bool:
    """Says whether nobody can change ``array`` and it is on disk already."""
    flags = array.flags
    return isinstance(array.base, np.memmap) and flags.c_contiguous and not flags.writeable
