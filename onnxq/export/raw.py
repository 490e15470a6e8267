"""Arrays as plain bytes, and what says how to read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.reference.integers import SMALL_BITS

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["description", "file_stem", "raw_bytes"]

_LONGEST_STEM = 60


def raw_bytes(array: npt.NDArray[Any]) -> bytes:
    """Returns the elements in C order, little-endian; bool and 2 and 4 bits take a byte each."""
    if array.dtype in SMALL_BITS:
        array = array.astype(np.int8)
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def description(array: npt.NDArray[Any]) -> dict[str, Any]:
    """Returns type and shape, as an index states them."""
    return {"dtype": str(array.dtype), "shape": list(array.shape)}


def file_stem(number: int, name: str) -> str:
    """Returns the start of a file name: unique by its number, readable by the value's name."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    return f"{number:04d}_{plain[:_LONGEST_STEM]}".rstrip("_")
