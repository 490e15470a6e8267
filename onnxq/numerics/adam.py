"""Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Single = npt.NDArray[np.float32]

__all__ = ["Adam"]

_DECAY, _EPSILON = (0.9, 0.999), 1e-8


class Adam:
    """The moments of one array's gradient.

    Args:
        like: An array of the same shape.
        rate: How far a step goes where all gradients are equal.
    """

    def __init__(self, like: Single, rate: float) -> None:
        self._mean, self._power = np.zeros_like(like), np.zeros_like(like)
        self._rate, self._steps = rate, 0

    def step(self, slope: Single, share: float = 1.0) -> Single:
        """Returns by how much to go down.

        Args:
            slope: The gradient.
            share: What the rate is multiplied by.
        """
        self._steps += 1
        first, second = _DECAY
        self._mean += np.float32(1 - first) * (slope - self._mean)
        self._power += np.float32(1 - second) * (slope * slope - self._power)
        rate = share * self._rate * math.sqrt(1 - second**self._steps) / (1 - first**self._steps)
        return np.asarray(rate * self._mean / (np.sqrt(self._power) + _EPSILON), np.float32)
