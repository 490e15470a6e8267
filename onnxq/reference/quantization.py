"""Where floats become integers and back: QuantizeLinear, DequantizeLinear, Cast.

float32 throughout, each step rounded by itself, as ONNX says: codes are
clip(round(x / scale) + zero_point), round half to even, and x̂ = (code − zero_point) · scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.reference.integers import SMALL_BITS, is_integer, limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

__all__ = ["KERNELS", "along", "requantized"]


def along(params: Array, rank: int, axis: int) -> Array:
    """Returns a scale or zero point so that it broadcasts along one axis of ``rank`` axes."""
    if params.size == 1:
        return params.reshape(())
    return params.reshape([-1 if i == axis else 1 for i in range(rank)])


def requantized(sums: Array, factor: Array, zero_point: Array) -> Array:
    """Returns clip(round(sums · factor) + zero_point) in the type of the zero point.

    Args:
        sums: int32, any shape.
        factor: float32 that broadcasts to ``sums``: scale of the sums / scale of the result.
        zero_point: Integer, one number.
    """
    return _saturated(np.rint(sums.astype(np.float32) * factor), zero_point, zero_point.dtype)


def _saturated(rounded: Array, zero_point: Array, dtype: np.dtype[Any]) -> Array:
    """Adds a zero point to whole numbers without rounding again; not-a-numbers stay so."""
    least, greatest = limits(dtype)
    codes = rounded.astype(np.float64) + zero_point.astype(np.float64)
    return np.clip(codes, least, greatest).astype(dtype)


def _quantize(call: Call) -> Array:
    x, scale = call.x(0), _scale(call)
    zero_point = call.optional(2)
    if x.dtype != np.float32:
        raise call.unsupported(f"it quantizes {x.dtype}; the reference does float32")
    # 0 is what the attribute says when it says nothing.
    stated = ir.DataType(call.number("output_dtype") or ir.DataType.UINT8).numpy()
    dtype = stated if zero_point is None else zero_point.dtype
    if not is_integer(dtype):
        raise call.unsupported(f"it quantizes to {dtype}; the reference does integers")
    zeros = np.zeros(scale.shape, np.int32) if zero_point is None else zero_point
    ratios = x / _spread(call, scale, x)
    if np.isnan(ratios).any():
        raise call.refusal("it quantizes NaN, which has no code")
    return _saturated(np.rint(ratios), _spread(call, zeros, x), dtype)


def _dequantize(call: Call) -> Array:
    codes, scale = call.integers(), _scale(call)
    zero_point = call.optional(2)
    differences = codes.astype(np.int64)
    if zero_point is not None:
        differences = differences - _spread(call, zero_point, codes).astype(np.int64)
    return np.asarray(differences.astype(np.float32) * _spread(call, scale, codes))


def _scale(call: Call) -> Array:
    scale = call.x(1)
    if scale.dtype != np.float32:
        raise call.unsupported(f"its scale is {scale.dtype}; the reference does float32")
    return scale


def _spread(call: Call, params: Array, x: Array) -> Array:
    """Returns params that broadcast to ``x``: of one scale, along an axis, or by blocks of it."""
    if params.size == 1:
        return params.reshape(())
    axis = call.axis(x.ndim, 1)
    block = call.number("block_size")
    if not block:
        return along(params, x.ndim, axis)
    return np.repeat(params, block, axis).take(range(x.shape[axis]), axis)


def _cast(call: Call) -> Array:
    x, dtype = call.x(), ir.DataType(call.number("to")).numpy()
    if dtype == np.bool_ or not is_integer(dtype):
        if dtype != np.bool_ and dtype not in (np.float16, np.float32, np.float64):
            raise call.unsupported(f"it casts to {dtype}, which the reference does not do")
        return x.astype(dtype)
    if not is_integer(x.dtype) and x.dtype != np.bool_:
        return _cut(call, x, dtype)
    bits = SMALL_BITS.get(dtype)
    if bits is None:
        return x.astype(dtype)
    # ONNX keeps the low bits of an integer that is too large, of whatever width.
    least, _ = limits(dtype)
    return (((x.astype(np.int64) - least) & ((1 << bits) - 1)) + least).astype(dtype)


def _cut(call: Call, x: Array, dtype: np.dtype[Any]) -> Array:
    """Casts floats to integers, toward zero."""
    if not np.isfinite(x).all():
        raise call.refusal(f"it casts what is no number, or infinite, to {dtype}")
    whole = np.trunc(x.astype(np.float64))
    least, greatest = limits(dtype)
    # 2^63 is a float64, and the greatest int64 is not; so the bound is excluded.
    if whole.size and not (least <= whole.min() and whole.max() < greatest + 1):
        raise call.refusal(f"it casts floats beyond the limits of {dtype}, which ONNX leaves open")
    return whole.astype(dtype)


KERNELS: Mapping[str, Kernel] = {
    "Cast": _cast,
    "DequantizeLinear": _dequantize,
    "QuantizeLinear": _quantize,
}
