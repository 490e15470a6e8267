"""Resize by nearest neighbours: which input each output position copies.

Coordinates are float32, as onnxruntime computes them: where a coordinate falls on a border between
two inputs, how it is rounded decides which one is nearest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

    Floats = npt.NDArray[np.float32]

__all__ = ["KERNELS"]

_HALF = np.float32(0.5)


def _asymmetric(at: Floats, scale: np.float32, _old: int) -> Floats:
    return at / scale


def _half_pixel(at: Floats, scale: np.float32, _old: int) -> Floats:
    return (at + _HALF) / scale - _HALF


def _pytorch_half_pixel(at: Floats, scale: np.float32, old: int) -> Floats:
    return _half_pixel(at, scale, old) if at.size > 1 else np.zeros_like(at)


def _align_corners(at: Floats, _scale: np.float32, old: int) -> Floats:
    if at.size == 1:
        return np.zeros_like(at)
    return at * np.float32(old - 1) / np.float32(at.size - 1)


_COORDINATES: Mapping[str, Callable[[Floats, np.float32, int], Floats]] = {
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch_half_pixel,
}

_ROUNDINGS: Mapping[str, Callable[[Floats], Floats]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda at: np.floor(at + _HALF),
    "round_prefer_floor": lambda at: np.ceil(at - _HALF),
}


def _resize(call: Call) -> Array:
    x = call.x()
    if call.text("mode", "nearest") != "nearest":
        raise call.unsupported("it interpolates, which is arithmetic on floats")
    coordinates = _COORDINATES.get(call.text("coordinate_transformation_mode", "half_pixel"))
    rounding = _ROUNDINGS.get(call.text("nearest_mode", "round_prefer_floor"))
    if coordinates is None or rounding is None:
        raise call.unsupported(
            "it places or rounds coordinates in a way the reference does not know"
        )
    for axis, size, scale in _sizes(call, x):
        if scale == 1:
            continue
        at = coordinates(np.arange(size, dtype=np.float32), scale, x.shape[axis])
        places = np.clip(rounding(at), 0, x.shape[axis] - 1).astype(np.intp)
        x = x.take(places, axis)
    return x


def _sizes(call: Call, x: Array) -> list[tuple[int, int, np.float32]]:
    """Returns axis, new size and scale of the axes that are named."""
    scales, sizes = call.optional(2), call.optional(3)
    axes = [call.front(axis, x.ndim) for axis in call.numbers("axes") or range(x.ndim)]
    if scales is not None and scales.size:
        factors = [np.float32(scale) for scale in scales]
        found = [int(x.shape[a] * f) for a, f in zip(axes, factors, strict=True)]
        return list(zip(axes, found, factors, strict=True))
    if sizes is None:
        raise call.refusal("it has neither scales nor sizes")
    if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.unsupported("it keeps the aspect ratio, which the reference does not do")
    found = [int(size) for size in sizes]
    factors = [np.float32(n) / np.float32(x.shape[a]) for a, n in zip(axes, found, strict=True)]
    return list(zip(axes, found, factors, strict=True))


KERNELS: Mapping[str, Kernel] = {"Resize": _resize}
