"""The object detection output loss on finished boxes, where there is no head to look at.

Models without suppression, or with it in a subgraph, give a list whose order may change. Each box
of the float model with a score p ≥ FOREGROUND, best first, takes the free box of its label in the
other model's list that overlaps it most, if by :data:`_OVERLAP` or more. With the terms and
constants of ``onnxq.tasks.odol``,

    matched     p · (D(p || q) + LOCALISATION · (1 - GIoU)) / n
    missed      p · (D(p || 0) + LOCALISATION) / n
    made up     BACKGROUND · D(FOREGROUND || q) / n    for q > FOREGROUND left in the other list

The derivative takes the matching as fixed, as DETR does (Carion et al. 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.box_loss import box_loss, box_spread
from onnxq.tasks.boxes import pairwise_overlap
from onnxq.tasks.divergence import bernoulli_curvature, bernoulli_divergence
from onnxq.tasks.end_to_end import LABELS, FinishedBoxes
from onnxq.tasks.loss import OutputLoss, signs
from onnxq.tasks.odol import BACKGROUND, FOREGROUND, INWARD, LOCALISATION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from onnxq.tasks.base import Outputs
    from onnxq.tasks.end_to_end import FinishedRows

    Array = npt.NDArray[np.float64]

__all__ = ["MatchedLoss"]

_OVERLAP = 0.1


@dataclass(frozen=True)
class _Lists:
    """Finished boxes.

    Attributes:
        boxes: Corners, [pictures, n, 4], or [n, 4] of one picture.
        scores: [pictures, n] or [n].
        labels: The same.
    """

    boxes: Array
    scores: Array
    labels: Array

    def of(self, picture: int) -> _Lists:
        """Returns those of one picture."""
        return _Lists(self.boxes[picture], self.scores[picture], self.labels[picture])


class MatchedLoss(OutputLoss):
    """See the module.

    Args:
        reader: What the outputs hold.
    """

    def __init__(self, reader: FinishedBoxes | FinishedRows) -> None:
        self._reader = reader
        if isinstance(reader, FinishedBoxes):
            names = (reader.boxes, reader.scores, reader.labels)
            self.values = tuple(name for name in names if name is not None)
        else:
            self.values = (reader.name,)

    def measure(self, wanted: Outputs, found: Outputs) -> float:
        """See the base class."""
        real, other = self._lists(wanted), self._lists(found)
        if not (np.isfinite(other.boxes).all() and np.isfinite(other.scores).all()):
            return math.inf
        count = len(real.scores)
        return float(sum(_picture(*pair, count)[0] for pair in _pictures(real, other)))

    def gradient(self, wanted: Outputs, found: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        """See the base class."""
        real, other = self._lists(wanted), self._lists(found)
        count = len(real.scores)
        slopes = [_picture(*pair, count)[1:] for pair in _pictures(real, other)]
        return self._spread(slopes, found)

    def draw(self, wanted: Outputs, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """See the base class; every box is its own match."""
        real = self._lists(wanted)
        drawn = []
        for boxes, scores in zip(real.boxes, real.scores, strict=True):
            share = _share(scores, len(real.scores))
            steep = np.sqrt(bernoulli_curvature(scores, INWARD) * share)
            spread = box_spread(boxes, "corners", rng) * np.sqrt(LOCALISATION * share)[:, None]
            drawn.append((spread, steep * signs(steep.shape, rng)))
        return self._spread(drawn, wanted)

    def _lists(self, outputs: Outputs) -> _Lists:
        reader = self._reader
        if isinstance(reader, FinishedBoxes):
            boxes = outputs[reader.boxes]
            pictures = math.prod(boxes.shape[:-2])
            labels = None if reader.labels is None else outputs[reader.labels]
            scores = outputs[reader.scores].reshape(pictures, -1)
            flat = np.zeros_like(scores) if labels is None else labels.reshape(pictures, -1)
            rows = boxes.reshape(pictures, -1, 4)
        else:
            array = outputs[reader.name]
            one = array.ndim == 2 or reader.picture is not None
            table = array.reshape(1 if one else len(array), -1, array.shape[-1])
            rows, scores = table[..., reader.boxes : reader.boxes + 4], table[..., reader.score]
            flat = table[..., reader.label]
            if reader.picture is not None:
                flat = flat + table[..., reader.picture] * LABELS
        return _Lists(*(np.asarray(part, np.float64) for part in (rows, scores, flat)))

    def _spread(
        self, slopes: Sequence[tuple[Array, Array]], outputs: Outputs
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Returns derivatives by the outputs for those by each picture's boxes and scores."""
        boxes = np.stack([by_boxes for by_boxes, _ in slopes]).astype(np.float32)
        scores = np.stack([by_scores for _, by_scores in slopes]).astype(np.float32)
        reader = self._reader
        if isinstance(reader, FinishedBoxes):
            return {
                reader.boxes: boxes.reshape(outputs[reader.boxes].shape),
                reader.scores: scores.reshape(outputs[reader.scores].shape),
            }
        shape = outputs[reader.name].shape
        table = np.zeros((*scores.shape, shape[-1]), np.float32)
        table[..., reader.boxes : reader.boxes + 4] = boxes
        table[..., reader.score] = scores
        return {reader.name: table.reshape(shape)}


def _pictures(real: _Lists, other: _Lists) -> Iterator[tuple[_Lists, _Lists]]:
    """Yields the lists of each picture of both models."""
    for at in range(len(real.scores)):
        yield real.of(at), other.of(at)


def _share(scores: Array, pictures: int) -> Array:
    """Returns the weight of each box over n and the pictures; 0 for what is not detected."""
    weight = np.where(scores >= FOREGROUND, scores, 0)
    return np.asarray(weight / (max(float(weight.sum()), 1.0) * pictures))


def _picture(real: _Lists, other: _Lists, pictures: int) -> tuple[float, Array, Array]:
    """Returns the loss of one picture, and its derivatives by boxes and scores."""
    share = _share(real.scores, pictures)
    n = max(float(real.scores[real.scores >= FOREGROUND].sum()), 1.0) * pictures
    mine, theirs, missed = _matched(real, other)
    by_boxes, by_scores = np.zeros_like(other.boxes), np.zeros_like(other.scores)
    apart, slope = bernoulli_divergence(real.scores[mine], other.scores[theirs], INWARD)
    distance, shift = box_loss(real.boxes[mine], other.boxes[theirs], "corners")
    loss = share[mine] @ (apart + LOCALISATION * distance)
    by_scores[theirs] = share[mine] * slope
    by_boxes[theirs] = LOCALISATION * share[mine][:, None] * shift
    lost = bernoulli_divergence(real.scores[missed], np.zeros(len(missed)), INWARD)[0]
    loss += share[missed] @ (lost + LOCALISATION)
    free = other.scores > FOREGROUND
    free[theirs] = False
    floor = np.full(int(free.sum()), FOREGROUND)
    made_up, rise = bernoulli_divergence(floor, other.scores[free], INWARD)
    by_scores[free] = BACKGROUND * rise / n
    return float(loss + BACKGROUND * made_up.sum() / n), by_boxes, by_scores


def _matched(real: _Lists, other: _Lists) -> tuple[list[int], list[int], list[int]]:
    """Returns positions of the pairs in both lists, and of what has none."""
    overlaps = pairwise_overlap(
        real.boxes.astype(np.float32), other.boxes.astype(np.float32)
    ).astype(np.float64)
    overlaps[real.labels[:, None] != other.labels[None, :]] = -1
    mine: list[int] = []
    theirs: list[int] = []
    missed: list[int] = []
    for row in np.argsort(-real.scores, kind="stable").tolist():
        if real.scores[row] < FOREGROUND:
            break
        place = int(overlaps[row].argmax()) if overlaps.shape[1] else -1
        if place < 0 or overlaps[row, place] < _OVERLAP:
            missed.append(row)
            continue
        mine.append(row)
        theirs.append(place)
        overlaps[:, place] = -1
    return mine, theirs, missed
