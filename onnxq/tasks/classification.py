"""Classifiers: one score vector a sample, whose greatest entry is the answer."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.tasks.base import Agreement, Comparison, Task
from onnxq.tasks.classification_loss import ClassificationLoss, answer_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnxq.tasks.base import Outputs, TaskFidelity

__all__ = ["classification", "is_embedding", "is_scores"]

_UNIT = 1e-3


class ClassificationComparison(Comparison):
    """Counts the samples whose greatest score stands in the same place.

    Args:
        scores: Name of the output that holds them: [batch, classes], or that with ones behind.
    """

    def __init__(self, scores: str) -> None:
        super().__init__()
        self._scores = scores
        self._equal = self._answers = 0

    def add(self, wanted: Outputs, found: Outputs) -> None:
        """See the base class; where the numbers of rows differ, none of them is equal."""
        super().add(wanted, found)
        tops = [
            array.reshape(array.shape[0], math.prod(array.shape[1:])).argmax(axis=1)
            for array in (wanted[self._scores], found[self._scores])
        ]
        if tops[0].size == tops[1].size:
            self._equal += int((tops[0] == tops[1]).sum())
        self._answers += max(top.size for top in tops)

    def fidelity(self) -> TaskFidelity:
        """See the base class."""
        agreement = Agreement.of(self._equal, self._answers) if self._answers else None
        return replace(super().fidelity(), agreement=agreement)


def classification(scores: str, shape: Sequence[object], behind: str | None) -> Task:
    """Returns the task of a classifier.

    Args:
        scores: Name of the output that holds the scores.
        shape: Its shape, the batch first.
        behind: Operator that made them.
    """
    by = f" from {behind}" if behind is not None else ""
    what = f"classification: {scores} holds scores of {shape[1]} classes{by}"
    loss = ClassificationLoss(scores, answer_form(behind))
    return Task(
        "classification", what, partial(ClassificationComparison, scores), loss=lambda _: loss
    )


def is_scores(shape: Sequence[int | None]) -> bool:
    """Class scores: two or more along axis 1, and nothing else but the batch."""
    dims = shape[1:]
    if not dims or not all(isinstance(dim, int) for dim in dims):
        return False
    return math.prod(dim or 0 for dim in dims) == dims[0] and (dims[0] or 0) >= 2


def is_embedding(rows: npt.NDArray[Any]) -> bool:
    """Says whether every row has length 1 and signs of both kinds: an embedding, no scores."""
    flat = rows.reshape(rows.shape[0], math.prod(rows.shape[1:])).astype(np.float64)
    lengths = np.linalg.norm(flat, axis=1)
    return bool(flat.size and (np.abs(lengths - 1) < _UNIT).all() and (flat < -_UNIT).any())
