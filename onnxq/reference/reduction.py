"""Many numbers to one: sums, means and extremes over axes, and where extremes are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.reference.integers import widened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

    Ints = tuple[int, ...]

__all__ = ["KERNELS"]


def _axes(call: Call, x: Array) -> Ints | None:
    """Returns the axes to reduce over; None if the node hands its input on."""
    axes = call.listed("axes", 1)
    if axes:
        return tuple(call.front(axis, x.ndim) for axis in axes)
    return None if call.number("noop_with_empty_axes") else tuple(range(x.ndim))


def _sums(call: Call, *, power: int = 1) -> Array:
    """Returns exact sums, as int64 or object."""
    x = call.integers()
    axes = _axes(call, x)
    if axes is None:
        return np.asarray(widened(lambda size: size**power, x)[0] ** power)
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    (wide,) = widened(lambda size: max(count, 1) * size**power, x)
    return np.asarray(np.sum(wide**power, axes, keepdims=call.number("keepdims", 1) == 1))


def _reduce_sum(call: Call) -> Array:
    return call.fit(_sums(call), call.x().dtype)


def _reduce_sum_square(call: Call) -> Array:
    return call.fit(_sums(call, power=2), call.x().dtype)


def _reduce_mean(call: Call) -> Array:
    """Cuts toward zero, and refuses sums beyond the type: so onnxruntime does it without wrap."""
    x = call.integers()
    sums = call.fit(_sums(call), x.dtype)
    axes = _axes(call, x) or ()
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    (wide,) = widened(lambda size: size, sums)
    means = abs(wide) // count
    return np.where(sums < 0, -means, means).astype(x.dtype)


def _extreme(function: Callable[..., Array]) -> Kernel:
    def kernel(call: Call) -> Array:
        x = call.x()
        axes = _axes(call, x)
        if axes is None:
            return x
        return np.asarray(function(x, axes, keepdims=call.number("keepdims", 1) == 1))

    return kernel


def _place_of(function: Callable[..., Array]) -> Kernel:
    """Returns the kernel of ArgMax or ArgMin: the first of equal ones, or the last."""

    def kernel(call: Call) -> Array:
        x = call.x()
        axis = call.axis(x.ndim)
        kept = call.number("keepdims", 1) == 1
        if not call.number("select_last_index"):
            return np.asarray(function(x, axis, keepdims=kept), np.int64)
        from_behind = function(np.flip(x, axis), axis, keepdims=kept)
        return np.asarray(x.shape[axis] - 1 - from_behind, np.int64)

    return kernel


def _top_k(call: Call) -> tuple[Array, ...]:
    """Returns the k largest or smallest in order, of equal ones those in front."""
    x = call.x()
    axis = call.axis(x.ndim, -1)
    listed = call.listed("k", 1)
    k = listed[0] if listed else call.number("k")
    # Sorting what is negated keeps the order of equal ones; ~x negates integers without overflow.
    keys = x if not call.number("largest", 1) else -x if x.dtype.kind == "f" else ~x
    places = np.argsort(keys, axis, kind="stable").take(range(k), axis)
    return np.take_along_axis(x, places, axis), places.astype(np.int64)


KERNELS: Mapping[str, Kernel] = {
    "ArgMax": _place_of(np.argmax),
    "ArgMin": _place_of(np.argmin),
    "ReduceMax": _extreme(np.max),
    "ReduceMean": _reduce_mean,
    "ReduceMin": _extreme(np.min),
    "ReduceSum": _reduce_sum,
    "ReduceSumSquare": _reduce_sum_square,
    "TopK": _top_k,
}
