"""Arithmetic number by number: exact on integers, the one IEEE operation on floats.

Quotients of integers are cut toward zero, as ONNX says; remainders have the sign of the divisor,
or with ``fmod`` that of the dividend.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from onnxq.reference.integers import is_integer, widened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

__all__ = ["KERNELS"]


def _binary(function: np.ufunc, bound: Callable[[int, int], int]) -> Kernel:
    """Returns the kernel of a function that yields integers of integers."""

    def kernel(call: Call) -> Array:
        a, b = _pair(call)
        if not is_integer(a.dtype):
            return np.asarray(function(a, b))
        return call.fit(np.asarray(function(*widened(bound, a, b))), a.dtype)

    return kernel


def _pair(call: Call) -> tuple[Array, Array]:
    a, b = call.x(0), call.x(1)
    if a.dtype != b.dtype:
        raise call.refusal(f"its inputs are {a.dtype} and {b.dtype}; they must be of one type")
    return a, b


def _div(call: Call) -> Array:
    a, b = _pair(call)
    if not is_integer(a.dtype):
        return np.asarray(a / b)
    _refuse_zero(call, b)
    wide_a, wide_b = widened(max, a, b)
    quotients = abs(wide_a) // abs(wide_b)
    return call.fit(np.where((a < 0) ^ (b < 0), -quotients, quotients), a.dtype)


def _mod(call: Call) -> Array:
    a, b = call.integers(0), call.integers(1)
    _pair(call)
    _refuse_zero(call, b)
    wide_a, wide_b = widened(max, a, b)
    if not call.number("fmod"):
        return call.fit(np.asarray(wide_a % wide_b), a.dtype)
    rests = abs(wide_a) % abs(wide_b)
    return call.fit(np.where(a < 0, -rests, rests), a.dtype)


def _refuse_zero(call: Call, divisor: Array) -> None:
    if not divisor.all():
        at = np.argwhere(divisor == 0)[0].tolist()
        raise call.refusal(f"it divides by zero (element {at} of the divisor)")


def _unary(function: Callable[[Array], Array]) -> Kernel:
    """Returns the kernel of a function that keeps magnitudes."""

    def kernel(call: Call) -> Array:
        x = call.x()
        if not is_integer(x.dtype):
            return np.asarray(function(x))
        return call.fit(np.asarray(function(*widened(lambda size: size, x))), x.dtype)

    return kernel


def _extreme(function: np.ufunc) -> Kernel:
    return lambda call: np.asarray(reduce(function, call.all()))


def _relu(call: Call) -> Array:
    x = call.x()
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def _clip(call: Call) -> Array:
    x = call.x()
    bounds = []
    for position, name in ((1, "min"), (2, "max")):
        bound = call.optional(position)
        if bound is None and name in call.node.attributes:
            bound = np.asarray(call.node.attributes.get_float(name), x.dtype)
        bounds.append(bound)
    for bound, function in zip(bounds, (np.maximum, np.minimum), strict=True):
        x = x if bound is None else function(x, bound)
    return x


def _cumulated(call: Call) -> Array:
    x = call.integers()
    axis = call.front(int(call.x(1).reshape(())), x.ndim)
    backwards, exclusive = call.number("reverse"), call.number("exclusive")
    (wide,) = widened(lambda size: size * x.shape[axis], x)
    wide = np.flip(wide, axis) if backwards else wide
    sums = np.cumsum(wide, axis) - (wide if exclusive else 0)
    return call.fit(np.flip(sums, axis) if backwards else sums, x.dtype)


def _sum_bound(a: int, b: int) -> int:
    return a + b


def _product_bound(a: int, b: int) -> int:
    return a * b


KERNELS: Mapping[str, Kernel] = {
    "Abs": _unary(np.absolute),
    "Add": _binary(np.add, _sum_bound),
    "Clip": _clip,
    "CumSum": _cumulated,
    "Div": _div,
    "Max": _extreme(np.maximum),
    "Min": _extreme(np.minimum),
    "Mod": _mod,
    "Mul": _binary(np.multiply, _product_bound),
    "Neg": _unary(np.negative),
    "Relu": _relu,
    "Sign": _unary(np.sign),
    "Sub": _binary(np.subtract, _sum_bound),
}
