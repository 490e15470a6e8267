"""Takes bfloat16 arrays in and out of onnxruntime, whose numpy interface knows no such type."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = ["is_bfloat16", "run_with_bfloat16"]


def is_bfloat16(kind: str) -> bool:
    """Says whether onnxruntime's name of a type is that of bfloat16 arrays."""
    return kind == "tensor(bfloat16)"


def run_with_bfloat16(
    session: ort.InferenceSession,
    names: Sequence[str],
    feeds: Mapping[str, npt.NDArray[Any]],
    options: ort.RunOptions,
) -> list[Any]:
    """Runs a session that takes or gives bfloat16 arrays.

    Args:
        session: What to run.
        names: Names of its outputs.
        feeds: Input name → array; those for bfloat16 inputs are of that dtype.
        options: Of the run.

    Returns:
        The outputs. What is bfloat16 comes as float32, exactly, since to numpy it is no number.
    """
    given = {name: _value(array) for name, array in feeds.items()}
    found = session.run_with_ort_values(list(names), given, options)
    return [_array(value) for value in found]


def _value(array: npt.NDArray[Any]) -> ort.OrtValue:
    if array.dtype != ml_dtypes.bfloat16:
        return ort.OrtValue.ortvalue_from_numpy(array)
    bits = np.asarray(array, order="C").view(np.uint16)
    kind = int(ir.DataType.BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, kind)


def _array(value: ort.OrtValue) -> Any:  # noqa: ANN401 (a sequence is a list)
    if not is_bfloat16(value.data_type()):
        return value.numpy()
    shape = tuple(value.shape())
    # Copied before the value, which owns the memory, goes.
    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(raw, ml_dtypes.bfloat16).reshape(shape).astype(np.float32)
