"""Numbers of a quantized model that gradient descent moves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnxq.numerics.adam import Adam

if TYPE_CHECKING:
    import numpy.typing as npt

    Single = npt.NDArray[np.float32]

__all__ = ["Learned", "LearnedScale", "LearnedShift", "falling_rate"]


class Learned(Protocol):
    """An array that the model reads."""

    def value(self) -> Single:
        """Returns it as it is now."""

    def descend(self, slope: Single, part: float) -> None:
        """Takes one step.

        Args:
            slope: Derivative of the loss by :meth:`value`, of its shape.
            part: Of all steps, how many are over.
        """

    def settle(self) -> None:
        """Makes it something that can be stored, after the last step."""


def falling_rate(part: float) -> float:
    """Returns what a rate is multiplied by after a part of the steps: a cosine, from 1 to 0."""
    return (1 + math.cos(math.pi * part)) / 2


class LearnedShift:
    """start + unit · u.

    Args:
        start: float32.
        unit: How far is far, broadcasts to it.
        rate: Of u.
    """

    def __init__(self, start: Single, unit: Single, rate: float = 1e-3) -> None:
        self._start, self._unit = start, unit
        self._moved = np.zeros_like(start)
        self._adam = Adam(start, rate)

    def value(self) -> Single:
        """See :class:`Learned`."""
        return np.asarray(self._start + self._unit * self._moved, np.float32)

    def descend(self, slope: Single, part: float) -> None:
        """See :class:`Learned`."""
        self._moved -= self._adam.step(slope * self._unit, falling_rate(part))

    def settle(self) -> None:
        """See :class:`Learned`."""


class LearnedScale:
    """start · exp(u), within bounds (Esser et al. 2020, "Learned Step Size Quantization").

    Args:
        start: float32, one positive number.
        bounds: Least and greatest exp(u).
        rate: Of u.
    """

    def __init__(self, start: Single, bounds: tuple[float, float], rate: float = 1e-3) -> None:
        self._start = start
        self._bounds = math.log(bounds[0]), math.log(bounds[1])
        self._moved = np.zeros_like(start)
        self._adam = Adam(start, rate)

    def value(self) -> Single:
        """See :class:`Learned`."""
        return np.asarray(self._start * np.exp(self._moved), np.float32)

    def descend(self, slope: Single, part: float) -> None:
        """See :class:`Learned`."""
        step = self._adam.step(np.asarray(slope * self.value()), falling_rate(part))
        self._moved = np.clip(self._moved - step, *self._bounds)

    def settle(self) -> None:
        """See :class:`Learned`."""
