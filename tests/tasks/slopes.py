"""Derivatives and curvatures of losses against finite differences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from onnxq.tasks.loss import OutputLoss

__all__ = ["assert_gradient", "mean_square", "second_difference"]

Arrays = dict[str, "npt.NDArray[Any]"]


def assert_gradient(
    loss: OutputLoss, wanted: Arrays, found: Arrays, step: float = 1e-3, rtol: float = 2e-2
) -> None:
    """Asserts that the gradient is the slope of the loss along some random directions."""
    rng = np.random.default_rng(0)
    gradient = loss.gradient(wanted, found)
    for _ in range(4):
        toward = {
            name: rng.standard_normal(array.shape)
            for name, array in found.items()
            if array.dtype.kind == "f"
        }
        ahead, behind = (loss.measure(wanted, _moved(found, toward, by)) for by in (step, -step))
        slope = (ahead - behind) / (2 * step)
        assert slope != 0
        expected = sum(float((gradient[n] * toward[n]).sum()) for n in toward if n in gradient)
        length = math.sqrt(sum(float(np.square(part).sum()) for part in gradient.values()))
        assert abs(slope - expected) < rtol * length


def second_difference(
    loss: OutputLoss, wanted: Arrays, toward: Mapping[str, npt.NDArray[Any]], step: float = 1e-2
) -> float:
    """Returns the second derivative of the loss at equality along a direction."""
    ahead, behind = (loss.measure(wanted, _moved(wanted, toward, by)) for by in (step, -step))
    return (ahead + behind) / step**2


def mean_square(
    loss: OutputLoss, wanted: Arrays, toward: Mapping[str, npt.NDArray[Any]], draws: int = 1000
) -> float:
    """Returns the mean of (d · toward)², which is toward · S · toward."""
    rng = np.random.default_rng(1)
    total = 0.0
    for _ in range(draws):
        drawn = loss.draw(wanted, rng)
        total += sum(float((drawn[n] * toward[n]).sum()) for n in toward if n in drawn) ** 2
    return total / draws


def _moved(arrays: Arrays, toward: Mapping[str, npt.NDArray[Any]], by: float) -> Arrays:
    return {
        name: (array + by * toward[name]).astype(array.dtype) if name in toward else array
        for name, array in arrays.items()
    }
