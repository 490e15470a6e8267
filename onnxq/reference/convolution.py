"""Convolutions of integers: ConvInteger, QLinearConv.

The sum over taps of what a tap reads, times its [out, in] matrix, group by group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.reference.geometry import output_sizes, taps, window
from onnxq.reference.integers import for_products
from onnxq.reference.quantization import along, requantized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

__all__ = ["KERNELS"]

_INT32 = np.dtype(np.int32)


def _conv_integer(call: Call) -> Array:
    x = _centred(call.integers(0), call.optional(2))
    w = call.integers(1)
    return call.fit(_convolved(call, x, _centred(w, call.optional(3), axis=0)), _INT32)


def _qlinear_conv(call: Call) -> Array:
    """Computes round(sum · float32(x_scale · w_scale) / y_scale), all in float32."""
    x, w = _centred(call.integers(0), call.x(2)), call.integers(3)
    sums = call.fit(_convolved(call, x, _centred(w, call.x(5), axis=0)), _INT32)
    bias = call.optional(8)
    if bias is not None:
        sums = call.fit(sums + along(bias.astype(np.int64), sums.ndim, 1), _INT32)
    factor = call.x(1).reshape(()) * call.x(4) / call.x(6).reshape(())
    return requantized(sums, along(factor, sums.ndim, 1), call.x(7).reshape(()))


def _centred(codes: Array, zero_point: Array | None, axis: int = 0) -> Array:
    """Returns codes minus their zero point, one or one per index of an axis, as int64."""
    wide = codes.astype(np.int64)
    if zero_point is None or not zero_point.any():
        return wide
    return np.asarray(wide - along(zero_point.astype(np.int64), codes.ndim, axis))


def _convolved(call: Call, x: Array, w: Array) -> Array:
    """Returns the exact convolution.

    Args:
        call: The node, for its attributes.
        x: int64 [N, C, spatial…], 0 where the input is beyond the border.
        w: int64 [O, C / group, kernel…].

    Returns:
        [N, O, spatial…] in a type that holds it.
    """
    group = call.number("group", 1)
    batch, channels, *sizes = x.shape
    if w.ndim != x.ndim or w.shape[1] * group != channels or w.shape[0] % group:
        raise call.refusal(f"weights of shape {w.shape} do not fit {channels} channels")
    look = window(call, w.shape[2:], tuple(sizes))
    outputs = output_sizes(look, tuple(sizes))
    x, w = for_products(x, w, int(np.prod(w.shape[1:])))
    parts = w.reshape(group, w.shape[0] // group, *w.shape[1:])
    sums: Array | None = None
    for place, read in taps(x, look, outputs, 0):
        columns = read.reshape(batch, group, channels // group, -1)
        products = np.matmul(parts[(slice(None),) * 3 + place], columns)
        sums = products if sums is None else sums + products
    assert sums is not None, "a kernel has a tap"
    return sums.reshape(batch, w.shape[0], *outputs)


KERNELS: Mapping[str, Kernel] = {"ConvInteger": _conv_integer, "QLinearConv": _qlinear_conv}
