"""Detectors: the quantized model's boxes against the float model's.

Both models' boxes go through the same threshold and the same class-wise suppression; the float
model's are the truth. Where boxes cannot be decoded, a candidate is matched by its place and class,
without suppression, and its box numbers are compared as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.base import BoxFidelity, Comparison
from onnxq.tasks.boxes import best, match, pairs
from onnxq.tasks.mean_ap import mean_average_precision

if TYPE_CHECKING:
    from onnxq.tasks.base import Outputs, TaskFidelity
    from onnxq.tasks.boxes import Detections
    from onnxq.tasks.head import Reader

__all__ = ["THRESHOLD", "BoxComparison", "PlaceComparison", "shown_boxes", "shown_pairs"]

THRESHOLD = 0.3
"""Least score of a box that counts."""

_OVERLAP = 0.5
# Average precision ranks all that is found; a truth of 0.31 found at 0.29 is only ranked lower.
_FLOOR = 0.01
_MOST = 300


class BoxComparison(Comparison):
    """Matches decoded boxes of one class with an overlap of 0.5 or more.

    Args:
        reader: Turns outputs into boxes.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader
        self._truths: list[Detections] = []
        self._ranked: list[Detections] = []
        self._found = 0
        self._overlaps: list[float] = []

    def add(self, wanted: Outputs, found: Outputs) -> None:
        """See the base class."""
        super().add(wanted, found)
        pictures = zip(
            self._reader.read(wanted, THRESHOLD), self._reader.read(found, _FLOOR), strict=True
        )
        for real, other in pictures:
            truth, ranked = best(real, _OVERLAP, _MOST), best(other, _OVERLAP, _MOST)
            sure = ranked.take(ranked.scores >= THRESHOLD)
            self._truths.append(truth)
            self._ranked.append(ranked)
            self._found += len(sure.scores)
            self._overlaps += match(truth, sure, _OVERLAP).tolist()

    def fidelity(self) -> TaskFidelity:
        """See the base class."""
        wanted = sum(len(truth.scores) for truth in self._truths)
        mean_ap = None
        if wanted:
            boxes = [truth.boxes for truth in self._truths]
            labels = [truth.labels for truth in self._truths]
            mean_ap = float(mean_average_precision(self._ranked, boxes, labels).mean())
        matched = len(self._overlaps)
        mean_iou = float(np.mean(self._overlaps)) if matched else None
        boxes_found = BoxFidelity(wanted, self._found, matched, mean_iou, mean_ap)
        return replace(super().fidelity(), boxes=boxes_found)


def shown_boxes(reader: Reader, outputs: Outputs) -> list[Detections]:
    """Returns the boxes of each picture that count, as :class:`BoxComparison` takes them."""
    return [best(found, _OVERLAP, _MOST) for found in reader.read(outputs, THRESHOLD)]


def shown_pairs(wanted: Detections, found: Detections) -> list[tuple[int, int]]:
    """Returns (position in ``wanted``, position in ``found``) of the boxes that match."""
    return [(mine, other) for mine, other, _ in pairs(wanted, found, _OVERLAP)]


class PlaceComparison(Comparison):
    """Matches candidates of the same place and class.

    Args:
        reader: Turns outputs into candidates with raw box numbers.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader
        self._wanted = self._found = self._matched = 0
        self._size = self._drift = 0.0

    def add(self, wanted: Outputs, found: Outputs) -> None:
        """See the base class."""
        super().add(wanted, found)
        sides = (self._reader.read(outputs, THRESHOLD) for outputs in (wanted, found))
        for real, other in zip(*sides, strict=True):
            _, mine, theirs = np.intersect1d(_keys(real), _keys(other), return_indices=True)
            numbers = real.boxes[mine].astype(np.float64)
            self._wanted += len(real.scores)
            self._found += len(other.scores)
            self._matched += len(mine)
            self._size += float(np.abs(numbers).sum())
            self._drift += float(np.abs(other.boxes[theirs] - numbers).sum())

    def fidelity(self) -> TaskFidelity:
        """See the base class."""
        drift = self._drift / self._size if self._size else None
        boxes = BoxFidelity(self._wanted, self._found, self._matched, drift=drift, by_place=True)
        return replace(super().fidelity(), boxes=boxes)


def _keys(candidates: Detections) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """One number for place and class."""
    places = candidates.labels if candidates.places is None else candidates.places
    return np.asarray((places << 24) + candidates.labels, np.int64)
