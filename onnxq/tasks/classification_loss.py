"""The loss of classifiers: D(float || other) of the class probabilities, mean over the rows.

With p the float model's probabilities, the second derivative at equality is

    logits         diag(p) - p·pᵀ            d = √p·ξ - p·Σ √p·ξ
    probabilities  diag(1/p)                 d = ξ / √p
    independent    diag(1 / (p·(1 - p)))     d = ξ / √(p·(1 - p))

for independent signs ξ (the last two up to the ε of ``onnxq.tasks.divergence``). At equality this
is the Hessian, the Gauss-Newton and the Fisher matrix all in one, as the gradient is zero there.
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
    import numpy.typing as npt

    from onnxq.tasks.base import Outputs

    Array = npt.NDArray[np.float64]

__all__ = ["INWARD", "AnswerForm", "ClassificationLoss", "answer_form"]

AnswerForm = Literal["logits", "probabilities", "independent"]

INWARD = 1e-4
"""ε by which probabilities are drawn inward: a 40th of what the last of 8 bits is worth."""

_FORMS: dict[str | None, AnswerForm] = {"Softmax": "probabilities", "Sigmoid": "independent"}


def answer_form(behind: str | None) -> AnswerForm:
    """Returns what scores are by the operator that made them; LogSoftmax gives logits too."""
    return _FORMS.get(behind, "logits")


class ClassificationLoss(OutputLoss):
    """See the module.

    Args:
        scores: Name of the output that holds scores: [batch, classes], or that with ones behind.
        form: What they are.
    """

    def __init__(self, scores: str, form: AnswerForm = "logits") -> None:
        self.values = (scores,)
        self._form = form

    def measure(self, wanted: Outputs, found: Outputs) -> float:
        """See the base class."""
        real, other = self._rows(wanted), self._rows(found)
        if not np.isfinite(other).all():
            return math.inf
        return float(self._divergence(real, other)[0].sum() / max(len(real), 1))

    def gradient(self, wanted: Outputs, found: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        """See the base class."""
        real, other = self._rows(wanted), self._rows(found)
        return self._shaped(self._divergence(real, other)[1] / max(len(real), 1), found)

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

    def _divergence(self, real: Array, other: Array) -> tuple[Array, Array]:
        if self._form == "logits":
            return softmax_divergence(real, other)
        if self._form == "probabilities":
            return share_divergence(real, other, INWARD)
        loss, slope = bernoulli_divergence(real, other, INWARD)
        return loss.sum(axis=1), slope

    def _rows(self, outputs: Outputs) -> Array:
        array = outputs[self.values[0]]
        return array.reshape(array.shape[0], math.prod(array.shape[1:])).astype(np.float64)

    def _shaped(self, rows: Array, like: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        name = self.values[0]
        return {name: rows.reshape(like[name].shape).astype(np.float32)}
