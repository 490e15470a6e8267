"""Exports that hold non-maximum suppression, or need none: few rows, each a finished box.

1. Three outputs: boxes [batch, n, 4], scores [batch, n] and labels [batch, n] (TensorFlow,
   torchvision, EfficientNMS). A number of boxes beside them is not read: rows behind it score 0.
2. Boxes and scores alone, one class: only where NonMaxSuppression is in the graph.
3. One output of rows [x, y, x, y, score, label], [picture, x, y, x, y, label, score] or [picture,
   label, score, x, y, x, y]. Two-dimensional ones only where NonMaxSuppression is in the graph.

Boxes are taken for corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.evidence import bounded, whole
from onnxq.tasks.head import detections

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnxq.tasks.base import Outputs
    from onnxq.tasks.boxes import Detections
    from onnxq.tasks.layout import Seen

__all__ = ["LABELS", "FinishedBoxes", "FinishedRows", "finished"]

LABELS = 4096
"""More than any model has: what labels of one picture are apart from the next one's in a list."""

# Where (boxes, score, label) stand in a row; None = no picture's number in front.
_ROWS = {6: ((0, 4, 5, None),), 7: ((1, 6, 5, 0), (3, 2, 1, 0))}


@dataclass(frozen=True)
class FinishedBoxes:
    """Rules 1 and 2; see :class:`onnxq.tasks.head.Reader`.

    Attributes:
        boxes: Name of the output with boxes.
        scores: Name of the output with scores.
        labels: Name of the output with labels; None = one class.
    """

    boxes: str
    scores: str
    labels: str | None = None

    @property
    def decoded(self) -> bool:
        """They are."""
        return True

    def read(self, outputs: Outputs, floor: float) -> list[Detections]:
        """See :class:`onnxq.tasks.head.Reader`."""
        boxes = outputs[self.boxes]
        many = boxes.shape[:-2] if boxes.ndim > 2 else (1,)
        pictures = int(np.prod(many))
        rows = boxes.reshape(pictures, -1, 4)
        scores = outputs[self.scores].reshape(pictures, -1)
        labels = np.zeros_like(scores) if self.labels is None else outputs[self.labels]
        labels = labels.reshape(pictures, -1)
        kept = [score >= floor for score in scores]
        return [
            detections(r[k], s[k], c[k])
            for r, s, c, k in zip(rows, scores, labels, kept, strict=True)
        ]


@dataclass(frozen=True)
class FinishedRows:
    """Rule 3; see :class:`onnxq.tasks.head.Reader`.

    Attributes:
        name: The output.
        boxes: Column of the first box number.
        score: Column of the score.
        label: Column of the label.
        picture: Column of the picture's number; None if there is none.
    """

    name: str
    boxes: int
    score: int
    label: int
    picture: int | None

    @property
    def decoded(self) -> bool:
        """They are."""
        return True

    def read(self, outputs: Outputs, floor: float) -> list[Detections]:
        """See :class:`onnxq.tasks.head.Reader`; one list for all pictures where rows are numbered.

        Boxes of several pictures in one list get labels of their own, so that none meets another's.
        """
        array = outputs[self.name]
        numbers = array.shape[-1]
        pictures = 1 if array.ndim == 2 or self.picture is not None else array.shape[0]
        return [self._picture(rows, floor) for rows in array.reshape(pictures, -1, numbers)]

    def _picture(self, rows: npt.NDArray[np.float32], floor: float) -> Detections:
        rows = rows[rows[:, self.score] >= floor]
        labels = rows[:, self.label]
        if self.picture is not None:
            labels = labels + rows[:, self.picture] * LABELS
        return detections(rows[:, self.boxes : self.boxes + 4], rows[:, self.score], labels)


def finished(outputs: Sequence[Seen], *, suppressed: bool) -> FinishedBoxes | FinishedRows | None:
    """Recognizes finished boxes; None if there are none.

    Args:
        outputs: What the outputs hold.
        suppressed: Whether NonMaxSuppression is in the graph.
    """
    tables = [one for one in outputs if one.is_float and len(one.shape) >= 2]
    for boxes in (one for one in tables if one.shape[-1] == 4):
        found = _beside(boxes, outputs, suppressed)
        if found is not None:
            return found
    for one in tables:
        if suppressed or (len(one.shape) >= 3 and one.shape[-2] > 1):
            for columns in _ROWS.get(one.shape[-1], ()):
                rows = FinishedRows(one.name, *columns)
                if _fits(one, rows, suppressed=suppressed):
                    return rows
    return None


def _beside(boxes: Seen, outputs: Sequence[Seen], suppressed: bool) -> FinishedBoxes | None:
    """Rules 1 and 2."""
    others = [one for one in outputs if _same_rows(one, boxes)]
    labels = [one for one in others if all(whole(array) for array in one.arrays)]
    labels.sort(key=lambda one: one.is_float)
    scores = [one for one in others if one.is_float and one not in labels and _scores(one)]
    # A run without a box gives scores that could be labels.
    if not scores and len(labels) == 2 and labels[-1].is_float and not labels[0].is_float:
        scores = [labels.pop()]
    if len(scores) != 1 or not (labels or suppressed):
        return None
    return FinishedBoxes(boxes.name, scores[0].name, labels[0].name if labels else None)


def _same_rows(one: Seen, boxes: Seen) -> bool:
    return all(
        array.shape == rows.shape[:-1] for array, rows in zip(one.arrays, boxes.arrays, strict=True)
    )


def _scores(one: Seen) -> bool:
    return all(((array >= -1) & (array <= 1.001)).all() for array in one.arrays)


def _fits(one: Seen, form: FinishedRows, *, suppressed: bool) -> bool:
    """Rule 3 on the numbers."""
    rows = np.concatenate([array.reshape(-1, array.shape[-1]) for array in one.arrays])
    if suppressed and not len(rows):
        return True
    # Padding is whole in every column and fits any form.
    varied = suppressed or not whole(rows[:, form.score])
    numbered = form.picture is None or whole(rows[:, form.picture])
    scores = np.clip(rows[:, [form.score]], 0, None)
    return varied and numbered and whole(rows[:, form.label]) and bool(bounded(scores).all())
