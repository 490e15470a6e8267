"""AdaRound: for every weight, up or down, by gradient descent on the layer's output.

Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", section 3: with
the target W' of a row in units of its scale, w = W' / s, codes are floor(w) + h with h in [0, 1],

    h = clip(1.2 · sigmoid(v) − 0.1, 0, 1)                                    (rectified sigmoid)
    loss = e Ĥ eᵀ + λ Σ (1 − |2 h − 1|^β),    e = floor(w) + h − w            (equations 21, 22, 24)

Adam minimises over v; β falls from 20 to 2 on a cosine after a fifth of the steps, in which λ is 0.
In the end h counts as 1 from 0.5 on. What differs from the paper: the data are second moments, so
every step sees all of them. Ĥ is H over the mean of its diagonal, so that λ means the same in all
layers. And W' is rounded, which makes up for errors in front of the layer, instead of W.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Single = npt.NDArray[np.float32]

__all__ = ["adaround"]

_STRETCH, _SHIFT = np.float32(1.2), np.float32(-0.1)
_WARM_UP = 0.2
_BETA = (20.0, 2.0)
_RATE, _DECAY, _EPSILON = 1e-2, (0.9, 0.999), 1e-8


def adaround(  # noqa: PLR0913 (a quadratic form, and how hard to try)
    target: Array,
    hessian: Array,
    scale: Array,
    limits: tuple[int, int],
    *,
    steps: int = 1000,
    regularization: float = 1.0,
) -> npt.NDArray[np.int32]:
    """Returns codes, int32 [G, O, K]: each is next to the target, or the limit nearest to it.

    Args:
        target: W', [G, O, K].
        hessian: H, [G, K, K].
        scale: s, [G, O, 1].
        limits: Least and greatest code.
        steps: Of Adam.
        regularization: λ.
    """
    wanted = target / scale
    below = np.clip(np.floor(wanted), limits[0], limits[1] - 1)
    rest = (wanted - below).astype(np.float32)
    free = (rest > 0) & (rest < 1)
    mean = np.maximum(hessian.diagonal(axis1=1, axis2=2).mean(axis=1), 1e-30)
    curvature = (hessian / mean[:, np.newaxis, np.newaxis]).astype(np.float32)
    share = np.clip(rest, 0, 1)
    inner = np.clip((share - _SHIFT) / _STRETCH, 1e-6, 1 - 1e-6)
    v = np.log(inner / (1 - inner))
    adam = _Adam(v)
    for step in range(steps):
        sigmoid = 1 / (1 + np.exp(-v))
        raw = _STRETCH * sigmoid + _SHIFT
        share = np.where(free, np.clip(raw, 0, 1), share)
        slope = 2 * (share - rest) @ curvature
        beta = _beta(step / steps)
        if beta is not None:
            slope += np.float32(regularization) * _regularizer_slope(share, beta)
        moving = free & (raw > 0) & (raw < 1)
        v -= adam.step(np.where(moving, slope * _STRETCH * sigmoid * (1 - sigmoid), 0))
    return np.asarray(below + (share >= 0.5), np.int32)


def _beta(part: float) -> float | None:
    """Returns β after a part of the steps; None as long as nothing is regularized."""
    if part < _WARM_UP:
        return None
    along = (part - _WARM_UP) / (1 - _WARM_UP)
    first, last = _BETA
    return last + (first - last) * (1 + math.cos(math.pi * along)) / 2


def _regularizer_slope(share: Single, beta: float) -> Single:
    """Returns the derivative of 1 − |2 h − 1|^β by h."""
    apart = 2 * share - 1
    slope = -2 * beta * np.abs(apart) ** np.float32(beta - 1) * np.sign(apart)
    return np.asarray(slope, np.float32)


class _Adam:
    """Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1."""

    def __init__(self, like: Single) -> None:
        self._mean, self._power = np.zeros_like(like), np.zeros_like(like)
        self._steps = 0

    def step(self, slope: Single) -> Single:
        """Returns by how much to go down."""
        self._steps += 1
        first, second = _DECAY
        self._mean += np.float32(1 - first) * (slope - self._mean)
        self._power += np.float32(1 - second) * (slope * slope - self._power)
        rate = _RATE * math.sqrt(1 - second**self._steps) / (1 - first**self._steps)
        return np.asarray(rate * self._mean / (np.sqrt(self._power) + _EPSILON), np.float32)
