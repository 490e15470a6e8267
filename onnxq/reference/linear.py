"""Matrix products of integers: MatMul, MatMulInteger, QLinearMatMul."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.reference.integers import for_products
from onnxq.reference.quantization import requantized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

__all__ = ["KERNELS"]

_INT32 = np.dtype(np.int32)


def _matmul(call: Call) -> Array:
    a, b = call.integers(0), call.integers(1)
    return call.fit(_product(a, b), a.dtype)


def _matmul_integer(call: Call) -> Array:
    a = _centred(call.integers(0), _rows(call.optional(2)))
    b = _centred(call.integers(1), call.optional(3))
    return call.fit(_product(a, b), _INT32)


def _qlinear_matmul(call: Call) -> Array:
    """Computes round(sum · float32(a_scale · b_scale) / y_scale), all in float32."""
    a = _centred(call.integers(0), _rows(call.x(2)))
    b = _centred(call.integers(3), call.x(5))
    a_scale = _rows(call.x(1))
    assert a_scale is not None, "the scale is there"
    factor = a_scale * call.x(4) / call.x(6).reshape(())
    return requantized(call.fit(_product(a, b), _INT32), factor, call.x(7).reshape(()))


def _product(a: Array, b: Array) -> Array:
    return np.asarray(np.matmul(*for_products(a, b, a.shape[-1])))


def _rows(params: Array | None) -> Array | None:
    """Returns what belongs to rows, if there is one of each, so that it broadcasts along them."""
    if params is None or params.ndim != 1 or params.size == 1:
        return params
    return params[:, np.newaxis]


def _centred(codes: Array, zero_point: Array | None) -> Array:
    """Returns codes minus a zero point that broadcasts to them, as int64."""
    wide = codes.astype(np.int64)
    return wide if zero_point is None else np.asarray(wide - zero_point.astype(np.int64))


KERNELS: Mapping[str, Kernel] = {
    "MatMul": _matmul,
    "MatMulInteger": _matmul_integer,
    "QLinearMatMul": _qlinear_matmul,
}
