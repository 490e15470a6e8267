"""Shares between two neighbouring codes that gradient descent can move, and that end at 0 or 1.

Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", equations 23, 24:

    h = clip(1.2 · sigmoid(v) - 0.1, 0, 1)          regularizer: Σ (1 - |2 h - 1|^β)

β falls from 20 to 2 on a cosine after a fifth of the steps, in which nothing is regularized.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Single = npt.NDArray[np.float32]

__all__ = ["falling_power", "logit", "regularizer_slope", "share_and_slope"]

_STRETCH, _SHIFT = np.float32(1.2), np.float32(-0.1)
_WARM_UP = 0.2
_BETA = (20.0, 2.0)


def logit(share: Single) -> Single:
    """Returns v for h, float32 of its shape; shares are in [0, 1]."""
    inner = np.clip((share - _SHIFT) / _STRETCH, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inner / (1 - inner)), np.float32)


def share_and_slope(v: Single) -> tuple[Single, Single]:
    """Returns h and dh/dv, float32 of the shape of ``v``."""
    sigmoid = 1 / (1 + np.exp(-v))
    raw = _STRETCH * sigmoid + _SHIFT
    moving = (raw > 0) & (raw < 1)
    return np.clip(raw, 0, 1), np.where(moving, _STRETCH * sigmoid * (1 - sigmoid), 0)


def falling_power(part: float) -> float | None:
    """Returns β after a part of the steps; None as long as nothing is regularized."""
    if part < _WARM_UP:
        return None
    along = (part - _WARM_UP) / (1 - _WARM_UP)
    first, last = _BETA
    return last + (first - last) * (1 + math.cos(math.pi * along)) / 2


def regularizer_slope(share: Single, beta: float) -> Single:
    """Returns the derivative of 1 - |2 h - 1|^β by h."""
    apart = 2 * share - 1
    slope = -2 * beta * np.abs(apart) ** np.float32(beta - 1) * np.sign(apart)
    return np.asarray(slope, np.float32)
