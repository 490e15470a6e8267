"""Kullback-Leibler divergences D(p || q) with their derivatives; plain numpy, float64.

Scores that came out of a model as shares may be exactly 0 or 1, above all on integers. They are
drawn inward by a small ε on both sides, so that D stays finite, smooth, and 0 only at q = p:

    classes that exclude each other   p' = (p + ε) / (1 + C·ε)
    classes that do not               p' = ε + (1 - 2ε) · p
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

Numbers = TypeVar("Numbers", bound="npt.NDArray[Any]")

__all__ = [
    "bernoulli_curvature",
    "bernoulli_divergence",
    "bernoulli_value",
    "share_curvature",
    "share_divergence",
    "softmax",
    "softmax_divergence",
]


def softmax(logits: Array) -> Array:
    """Returns exp(logits) / Σ exp(logits) along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def softmax_divergence(wanted: Array, found: Array) -> tuple[Array, Array]:
    """Returns D of the softmax of two rows of logits, and its derivative by ``found``.

    Args:
        wanted: [n, classes].
        found: [n, classes].

    Returns:
        [n] and [n, classes].
    """
    p, q = _log_softmax(wanted), _log_softmax(found)
    return (np.exp(p) * (p - q)).sum(axis=-1), np.exp(q) - np.exp(p)


def share_divergence(wanted: Array, found: Array, inward: float) -> tuple[Array, Array]:
    """Returns D = Σ p'·log(p'/q') - p' + q' and its derivative by ``found``.

    The last two terms cancel where the shares add up to 1, and make up for it where they do not.

    Args:
        wanted: Shares [n, classes].
        found: Shares [n, classes]; negative ones count as 0.
        inward: ε.

    Returns:
        [n] and [n, classes].
    """
    slope = 1 / (1 + wanted.shape[-1] * inward)
    p, q = (np.maximum(wanted, 0) + inward) * slope, (np.maximum(found, 0) + inward) * slope
    return (p * np.log(p / q) - p + q).sum(axis=-1), np.where(found < 0, 0, (1 - p / q) * slope)


def share_curvature(shares: Array, inward: float) -> Array:
    """Returns the second derivative of :func:`share_divergence` at equality, its diagonal."""
    slope = 1 / (1 + shares.shape[-1] * inward)
    return np.asarray(slope / (np.maximum(shares, 0) + inward))


def bernoulli_value(wanted: Numbers, found: Numbers, inward: float) -> Numbers:
    """Returns D of single yes-or-no scores, in the precision of what is given.

    Args:
        wanted: Probabilities, any shape.
        found: Probabilities, that shape; what lies outside of 0 … 1 counts as its bound.
        inward: ε.

    Returns:
        In that shape.
    """
    slope = 1 - 2 * inward
    p, q = (inward + slope * np.clip(side, 0, 1) for side in (wanted, found))
    value: Numbers = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return value


def bernoulli_divergence(wanted: Array, found: Array, inward: float) -> tuple[Array, Array]:
    """Returns :func:`bernoulli_value` and its derivative by ``found``."""
    slope = 1 - 2 * inward
    p, q = (inward + slope * np.clip(side, 0, 1) for side in (wanted, found))
    by_found = np.where((found < 0) | (found > 1), 0, slope * (q - p) / (q * (1 - q)))
    return bernoulli_value(wanted, found, inward), by_found


def bernoulli_curvature(wanted: Array, inward: float) -> Array:
    """Returns the second derivative of :func:`bernoulli_divergence` at equality."""
    slope = 1 - 2 * inward
    p = inward + slope * np.clip(wanted, 0, 1)
    return np.asarray(slope**2 / (p * (1 - p)))


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
