"""How far outputs are from the float model's, as one number that can be minimized.

A loss needs no labels: what the float model says is the truth. It comes with its gradient with
respect to the outputs, and with a curvature S, from which the sensitivity of a layer follows: with
random cotangents d for which E[d dᵀ] = S, the squared gradient of dᵀ·outputs with respect to a
weight has the mean that the second derivative of the loss has (Gauss-Newton).
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from onnxq.tasks.base import Outputs

    Array = npt.NDArray[np.float64]

__all__ = ["GenericLoss", "OutputLoss", "signs"]


class OutputLoss(abc.ABC):
    """The loss of one task.

    Attributes:
        values: Names of the values that it looks at: outputs, or what leads to them.
        note: What is special about it, in words; empty for nothing.
    """

    values: tuple[str, ...]
    note: str = ""

    @abc.abstractmethod
    def measure(self, wanted: Outputs, found: Outputs) -> float:
        """Returns the mean loss of the pictures, texts … of one run.

        Args:
            wanted: :attr:`values` of the float model.
            found: Those of the other model, on the same inputs.

        Returns:
            0 where nothing differs, else more; infinite where ``found`` holds no numbers.
        """

    @abc.abstractmethod
    def gradient(self, wanted: Outputs, found: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        """Returns the derivative of :meth:`measure` with respect to ``found``, in its shapes.

        Values that the loss does not depend on are zero, or absent.
        """

    @abc.abstractmethod
    def draw(self, wanted: Outputs, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """Returns a random cotangent d with E[d dᵀ] = S at ``found`` = ``wanted``, in its shapes.

        Entries of different pictures of a batch are independent.
        """

    def softened(self, outputs: Iterable[Outputs]) -> OutputLoss:
        """Returns a loss of the same unit to rank changes by, to which more than a few runs count.

        Args:
            outputs: :attr:`values` of the float model, run by run.
        """
        del outputs
        return self


def signs(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Returns independent numbers of ±1."""
    return rng.integers(0, 2, shape).astype(np.float64) * 2 - 1


class GenericLoss(OutputLoss):
    """Squared error over the signal's energy, mean over the outputs of floating point.

    An output whose shape differs counts 1, as if it were zero; one without a signal is divided by
    its size instead.

    Args:
        values: Names of the outputs.
    """

    def __init__(self, values: Sequence[str]) -> None:
        self.values = tuple(values)

    def measure(self, wanted: Outputs, found: Outputs) -> float:
        """See the base class."""
        names = self._compared(wanted)
        return float(sum(_relative_error(wanted[n], found[n]) for n in names) / max(len(names), 1))

    def gradient(self, wanted: Outputs, found: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        """See the base class."""
        names = self._compared(wanted)
        slopes = {}
        for name in names:
            real, other = wanted[name], np.asarray(found[name], np.float64)
            slope = np.zeros(other.shape)
            if real.shape == other.shape:
                slope = 2 * (other - real) / (_energy(real) * len(names))
            slopes[name] = slope.astype(np.float32)
        return slopes

    def draw(self, wanted: Outputs, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """See the base class; S = 2 / (energy · outputs) on the diagonal."""
        names = self._compared(wanted)
        return {
            name: np.asarray(
                signs(wanted[name].shape, rng) * np.sqrt(2 / (_energy(wanted[name]) * len(names))),
                np.float32,
            )
            for name in names
        }

    def _compared(self, wanted: Outputs) -> list[str]:
        return [
            name
            for name in self.values
            if isinstance(wanted[name], np.ndarray) and wanted[name].dtype.kind == "f"
        ]


def _relative_error(wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    if wanted.shape != found.shape:
        return 1.0
    if not np.isfinite(found).all():
        return np.inf
    error = found.astype(np.float64) - wanted
    return float(np.vdot(error, error)) / _energy(wanted)


def _energy(array: npt.NDArray[Any]) -> float:
    signal = array.astype(np.float64)
    return float(np.vdot(signal, signal)) or float(max(array.size, 1))
