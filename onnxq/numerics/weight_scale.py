"""Symmetric scales for weights, whole or per channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.affine import symmetric_scale

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["weight_scale"]


def weight_scale(
    weight: npt.NDArray[np.float32], axis: int | None, qmax: int
) -> npt.NDArray[np.float32]:
    """Returns the scale that maps the greatest magnitude of ``weight`` to ``qmax``.

    Args:
        weight: float32, finite, any shape.
        axis: Axis of the channels, each with its own scale; None for one scale.
        qmax: Greatest code, at least 1.

    Returns:
        float32, [weight.shape[axis]] or []; 1 for a channel of zeros.
    """
    kept = None if axis is None else axis % weight.ndim
    others = tuple(i for i in range(weight.ndim) if i != kept)
    # not the maximum of the magnitudes, which would be a second array as large as the weight
    high = weight.max(axis=others, initial=0.0)
    magnitude = np.maximum(high, -weight.min(axis=others, initial=0.0))
    return symmetric_scale(magnitude, qmax)
