"""The loss of classifiers: D(float || other) of the class probabilities, mean over the rows.

With p the float model's probabilities, the second derivative at equality is

    logits         diag(p) - p·pᵀ            d = √p·ξ - p·Σ √p·ξ
    probabilities  diag(1/p)                 d = ξ / √p
    independent    diag(1 / (p·(1 - p)))     d = ξ / √(p·(1 - p))

for independent signs ξ (the last two up to the ε of ``onnxq.tasks.divergence``). At equality this
is the Hessian, the Gauss-Newton and the Fisher matrix all in one, as the gradient is zero there.

Where a model is sure of nearly all that it sees, next to nothing can be lost but on a few pictures,
and a few of them tell little about others. Logits divided by a temperature T, and the divergence
times T² (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2), keep the
unit and let more of them count. A picture weighs 1 - Σ p², the trace of the curvature.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from onnxq.tasks.divergence import (
    bernoulli_curvature,
    bernoulli_divergence,
    share_curvature,
    share_divergence,
    softmax,
    softmax_divergence,
)
from onnxq.tasks.loss import OutputLoss, signs

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from onnxq.tasks.base import Outputs

    Array = npt.NDArray[np.float64]

__all__ = ["INWARD", "AnswerForm", "ClassificationLoss", "answer_form"]

AnswerForm = Literal["logits", "probabilities", "independent"]

INWARD = 1e-4
"""ε by which probabilities are drawn inward: a 40th of what the last of 8 bits is worth."""

_TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
# Part of the pictures that has to count, by Kish's effective sample size (Σw)² / Σw².
_COUNTING = 0.7

_FORMS: dict[str | None, AnswerForm] = {"Softmax": "probabilities", "Sigmoid": "independent"}


def answer_form(behind: str | None) -> AnswerForm:
    """Returns what scores are by the operator that made them; LogSoftmax gives logits too."""
    return _FORMS.get(behind, "logits")


class ClassificationLoss(OutputLoss):
    """See the module.

    Args:
        scores: Name of the output that holds scores: [batch, classes], or that with ones behind.
        form: What they are.
        temperature: T; for logits alone.
    """

    def __init__(self, scores: str, form: AnswerForm = "logits", temperature: float = 1.0) -> None:
        self.values = (scores,)
        self.note = f"logits over {temperature:g}" if temperature != 1 else ""
        self._form = form
        self._temperature = temperature

    def measure(self, wanted: Outputs, found: Outputs) -> float:
        """See the base class."""
        real, other = self._rows(wanted), self._rows(found)
        if not np.isfinite(other).all():
            return math.inf
        loss = self._divergence(real, other)[0].sum() / max(len(real), 1)
        return float(loss * self._temperature**2)

    def gradient(self, wanted: Outputs, found: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        """See the base class."""
        real, other = self._rows(wanted), self._rows(found)
        slope = self._divergence(real, other)[1] / max(len(real), 1)
        return self._shaped(slope * self._temperature, found)

    def draw(self, wanted: Outputs, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """See the base class."""
        real = self._rows(wanted)
        xi = signs(real.shape, rng)
        if self._form == "logits":
            p = softmax(real)
            d = np.sqrt(p) * xi
            d -= p * d.sum(axis=1, keepdims=True)
        elif self._form == "probabilities":
            d = xi * np.sqrt(share_curvature(real, INWARD))
        else:
            d = xi * np.sqrt(bernoulli_curvature(real, INWARD))
        return self._shaped(d / math.sqrt(max(len(real), 1)), wanted)

    def softened(self, outputs: Iterable[Outputs]) -> ClassificationLoss:
        """Returns it at the least temperature at which most count, of 1 where none is enough."""
        rows = [self._rows(one) for one in outputs] if self._form == "logits" else []
        if not rows:
            return self
        logits = np.concatenate(rows) * self._temperature
        most = next((t for t in _TEMPERATURES if _counting(logits / t) >= _COUNTING), 1.0)
        return ClassificationLoss(self.values[0], self._form, most)

    def _divergence(self, real: Array, other: Array) -> tuple[Array, Array]:
        if self._form == "logits":
            return softmax_divergence(real, other)
        if self._form == "probabilities":
            return share_divergence(real, other, INWARD)
        loss, slope = bernoulli_divergence(real, other, INWARD)
        return loss.sum(axis=1), slope

    def _rows(self, outputs: Outputs) -> Array:
        array = outputs[self.values[0]]
        rows = array.reshape(array.shape[0], math.prod(array.shape[1:])).astype(np.float64)
        return np.asarray(rows / self._temperature)

    def _shaped(self, rows: Array, like: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        name = self.values[0]
        return {name: rows.reshape(like[name].shape).astype(np.float32)}


def _counting(logits: Array) -> float:
    """Returns the part of the rows that counts."""
    weights = 1 - np.square(softmax(logits)).sum(axis=1)
    squares = float(np.square(weights).sum()) * len(weights)
    return float(weights.sum()) ** 2 / squares if squares else 0.0
