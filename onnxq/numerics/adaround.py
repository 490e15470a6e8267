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

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.adam import Adam
from onnxq.numerics.rectified_sigmoid import (
    falling_power,
    logit,
    regularizer_slope,
    share_and_slope,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.floating]

__all__ = ["adaround"]

_RATE = 1e-2


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
    v = logit(share)
    adam = Adam(v, _RATE)
    for step in range(steps):
        soft, softness = share_and_slope(v)
        share = np.where(free, soft, share)
        slope = 2 * (share - rest) @ curvature
        beta = falling_power(step / steps)
        if beta is not None:
            slope += np.float32(regularization) * regularizer_slope(share, beta)
        v -= adam.step(np.where(free, slope * softness, 0))
    return np.asarray(below + (share >= 0.5), np.int32)
