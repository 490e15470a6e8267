"""Comparisons, choices and bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

__all__ = ["KERNELS"]


def _applied(function: np.ufunc) -> Kernel:
    """Returns the kernel of a function that numpy has, on all inputs of the node."""
    return lambda call: np.asarray(function(*call.all()))


def _shifted(call: Call) -> Array:
    x, by = call.integers(0), call.integers(1)
    width = x.dtype.itemsize * 8
    if by.size and int(by.max()) >= width:
        raise call.refusal(f"it shifts {x.dtype} by {int(by.max())} bits")
    if call.text("direction", "") == "RIGHT":
        return np.asarray(np.right_shift(x, by))
    moved = np.asarray(np.left_shift(x, by))
    if not np.array_equal(np.right_shift(moved, by), np.broadcast_to(x, moved.shape)):
        raise call.refusal(f"a shift to the left moves bits out of {x.dtype}")
    return moved


def _where(call: Call) -> Array:
    return np.where(call.x(0), call.x(1), call.x(2))


KERNELS: Mapping[str, Kernel] = {
    "And": _applied(np.logical_and),
    "BitShift": _shifted,
    "BitwiseAnd": _applied(np.bitwise_and),
    "BitwiseNot": _applied(np.bitwise_not),
    "BitwiseOr": _applied(np.bitwise_or),
    "BitwiseXor": _applied(np.bitwise_xor),
    "Equal": _applied(np.equal),
    "Greater": _applied(np.greater),
    "GreaterOrEqual": _applied(np.greater_equal),
    "Less": _applied(np.less),
    "LessOrEqual": _applied(np.less_equal),
    "Not": _applied(np.logical_not),
    "Or": _applied(np.logical_or),
    "Where": _where,
    "Xor": _applied(np.logical_xor),
}
