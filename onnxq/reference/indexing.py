"""Picking by place: Gather and its relatives (tables among them), Slice, ScatterND."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

__all__ = ["KERNELS"]


def _gather(call: Call) -> Array:
    x = call.x(0)
    axis = call.axis(x.ndim)
    return x.take(_indices(call, call.x(1), x.shape[axis]), axis)


def _gather_elements(call: Call) -> Array:
    x = call.x(0)
    axis = call.axis(x.ndim)
    return _take_along(x, _indices(call, call.x(1), x.shape[axis]), axis)


def _take_along(x: Array, indices: Array, axis: int) -> Array:
    """Returns numpy.take_along_axis without broadcasting: other axes may be cut short."""
    cut = tuple(slice(None) if i == axis else slice(size) for i, size in enumerate(indices.shape))
    return np.asarray(np.take_along_axis(x[cut], indices, axis))


def _gather_nd(call: Call) -> Array:
    x, indices = call.x(0), call.x(1)
    batch = call.number("batch_dims")
    depth = indices.shape[-1]
    places = [_indices(call, indices[..., i], x.shape[batch + i]) for i in range(depth)]
    lead = indices.ndim - 1
    batches = [
        np.arange(x.shape[i]).reshape([-1 if j == i else 1 for j in range(lead)])
        for i in range(batch)
    ]
    return np.asarray(x[(*batches, *places)])


def _scatter_nd(call: Call) -> Array:
    if call.text("reduction", "none") != "none":
        raise call.unsupported(
            "it adds or compares what it scatters, which the reference does not do"
        )
    x, indices, updates = call.x(0).copy(), call.x(1), call.x(2)
    places = [_indices(call, indices[..., i], x.shape[i]) for i in range(indices.shape[-1])]
    x[tuple(places)] = updates
    return x


def _indices(call: Call, indices: Array, size: int) -> Array:
    """Returns indices counted from the front; refuses those that are not there."""
    wrong = (indices < -size) | (indices >= size)
    if wrong.any():
        raise call.refusal(f"index {int(indices[wrong][0])} is not among {size}")
    return np.where(indices < 0, indices + size, indices).astype(np.intp)


def _slice(call: Call) -> Array:
    x = call.x()
    starts, ends = call.listed("starts", 1), call.listed("ends", 2)
    if starts is None or ends is None:
        raise call.refusal("it has no starts or ends")
    axes = call.listed("axes", 3) or tuple(range(len(starts)))
    steps = call.listed("steps", 4) or (1,) * len(starts)
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = call.front(axis, x.ndim)
        cut[place] = _range(start, end, step, x.shape[place])
    return x[tuple(cut)]


def _range(start: int, end: int, step: int, size: int) -> slice:
    """Returns what ONNX takes along an axis: bounds count from behind, then are cut to fit."""
    start += size if start < 0 else 0
    end += size if end < 0 else 0
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    stop = min(max(end, -1), size - 1)
    # Python would read -1 as the last one.
    return slice(min(max(start, 0), size - 1), None if stop < 0 else stop, step)


KERNELS: Mapping[str, Kernel] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "Slice": _slice,
}
