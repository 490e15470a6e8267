"""Affine quantization: x̂ = scale · (code - zero_point), code = clip(round(x / scale) + zero_point).

Rounding is half to even, and x / scale is a float32 division, as in ONNX QuantizeLinear, so that
codes computed here equal those of onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["affine_params", "dequantize", "quantize", "symmetric_scale"]

_TINY = float(np.finfo(np.float32).tiny)


ScalarT = TypeVar("ScalarT", bound=np.generic)


def _along(params: npt.NDArray[ScalarT], axis: int | None, rank: int) -> npt.NDArray[ScalarT]:
    if axis is None or params.ndim == 0:
        return params
    shape = [1] * rank
    shape[axis] = params.size
    return params.reshape(shape)


def quantize(
    x: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    zero_point: npt.NDArray[np.int32],
    limits: tuple[int, int],
    axis: int | None = None,
) -> npt.NDArray[np.int32]:
    """Returns the codes of ``x``.

    Args:
        x: float32, any shape.
        scale: float32, [] or [x.shape[axis]].
        zero_point: int32, the shape of ``scale``.
        limits: Least and greatest code.
        axis: Axis that ``scale`` runs along; None for one scale.

    Returns:
        int32, the shape of ``x``.
    """
    s = _along(scale, axis, x.ndim).astype(np.float32)
    z = _along(zero_point, axis, x.ndim)
    codes = np.rint(np.asarray(x, np.float32) / s) + z
    return np.asarray(np.clip(codes, *limits), np.int32)


def dequantize(
    codes: npt.NDArray[np.integer],
    scale: npt.NDArray[np.float32],
    zero_point: npt.NDArray[np.int32],
    axis: int | None = None,
) -> npt.NDArray[np.float32]:
    """Returns the reals, float32, that ``codes`` stand for. Arguments as in :func:`quantize`."""
    s = _along(scale, axis, codes.ndim).astype(np.float32)
    z = _along(zero_point, axis, codes.ndim)
    return np.asarray((codes.astype(np.int32) - z).astype(np.float32) * s, np.float32)


def affine_params(
    low: npt.ArrayLike, high: npt.ArrayLike, limits: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Returns scale and zero point that cover [low, high] and hold 0 exactly.

    Args:
        low: Least real, any shape; values above 0 count as 0.
        high: Greatest real, the shape of ``low``; values below 0 count as 0.
        limits: Least and greatest code.

    Returns:
        float32 scale and int32 zero point, the shape of ``low``. An empty range gets scale 1.
    """
    qmin, qmax = limits
    lo = np.minimum(np.asarray(low, np.float64), 0.0)
    hi = np.maximum(np.asarray(high, np.float64), 0.0)
    scale = ((hi - lo) / (qmax - qmin)).astype(np.float32)
    scale = np.where(scale < _TINY, np.float32(1), scale).astype(np.float32)
    zero_point = np.clip(np.rint(qmin - lo / scale), qmin, qmax).astype(np.int32)
    return scale, zero_point


def symmetric_scale(magnitude: npt.ArrayLike, qmax: int) -> npt.NDArray[np.float32]:
    """Returns the float32 scale that maps ``magnitude`` (≥ 0) to code ``qmax``; 1 where it is 0."""
    scale = (np.asarray(magnitude, np.float64) / qmax).astype(np.float32)
    return np.where(scale < _TINY, np.float32(1), scale).astype(np.float32)
