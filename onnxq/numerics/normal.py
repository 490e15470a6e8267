"""Mean and variance of what activation functions make of a normal variable.

With x ~ N(mean, deviation²), φ and Φ density and distribution of the standard normal, α = (low -
mean) / deviation and β = (high - mean) / deviation, and Z = Φ(β) - Φ(α)::

    E[clip(x)]  = low · Φ(α) + high · (1 - Φ(β)) + mean · Z + deviation · (φ(α) - φ(β))
    E[clip(x)²] = low² · Φ(α) + high² · (1 - Φ(β)) + (mean² + deviation²) · Z
                  + deviation · ((mean + low) · φ(α) - (mean + high) · φ(β))

(Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2 and appendix, with the sign of the last term as integration gives it). Relu is low = 0,
high = ∞. What has no closed form is summed over an even grid of x, which for a normal density
converges faster than any power of the step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["Normal", "clipped", "mapped", "product"]

# Beyond that many deviations lies less than 1e-15 of a normal variable.
_REACH = 8.0
_GRID = np.linspace(-_REACH, _REACH, 641)
_DENSITY = np.exp(-0.5 * _GRID**2)
_WEIGHTS = _DENSITY / _DENSITY.sum()
_FAR = 38.0
# scipy.special would do it too, and takes 0.2 s to import.
_ERFC = np.vectorize(math.erfc, otypes=[np.float64])


class Normal(NamedTuple):
    """What is known of a value: mean and variance of each channel, float64 [C] each."""

    mean: Array
    variance: Array

    @property
    def deviation(self) -> Array:
        """Standard deviation, float64 [C]."""
        return np.asarray(np.sqrt(self.variance))


def clipped(x: Normal, low: float = -np.inf, high: float = np.inf) -> Normal:
    """Returns the moments of min(max(x, low), high).

    Args:
        x: The moments of a normal variable.
        low: Lower bound; -inf for none.
        high: Upper bound; inf for none; not below ``low``.
    """
    step = np.maximum(x.deviation, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        alpha, beta = (np.clip((end - x.mean) / step, -_FAR, _FAR) for end in (low, high))
    below, inside, above = _below(alpha), _below(beta) - _below(alpha), _below(-beta)
    lower, upper = (x.deviation * _density(at) for at in (alpha, beta))
    first, last = (end if np.isfinite(end) else 0.0 for end in (low, high))
    mean = first * below + last * above + x.mean * inside + lower - upper
    square = first**2 * below + last**2 * above + (x.mean**2 + x.variance) * inside
    square += (x.mean + first) * lower - (x.mean + last) * upper
    return Normal(mean, np.maximum(square - mean**2, 0.0))


def mapped(x: Normal, function: Callable[[Array], Array]) -> Normal:
    """Returns the moments of ``function(x)``.

    Args:
        x: The moments of a normal variable.
        function: Works number by number on float64 [C, n]; channel i of x is in row i.
    """
    y = function(x.mean[:, np.newaxis] + x.deviation[:, np.newaxis] * _GRID)
    mean = y @ _WEIGHTS
    return Normal(mean, np.asarray((y - mean[:, np.newaxis]) ** 2 @ _WEIGHTS))


def product(a: Normal, b: Normal) -> Normal:
    """Returns the moments of a · b, as if they were independent; [1] counts for all channels."""
    squares = (a.mean**2 + a.variance) * (b.mean**2 + b.variance)
    mean = a.mean * b.mean
    return Normal(mean, np.maximum(squares - mean**2, 0.0))


def _density(at: Array) -> Array:
    return np.asarray(np.exp(-0.5 * at**2) / np.sqrt(2.0 * np.pi))


def _below(at: Array) -> Array:
    """Returns Φ(at)."""
    return np.asarray(0.5 * _ERFC(-at / math.sqrt(2.0)))
