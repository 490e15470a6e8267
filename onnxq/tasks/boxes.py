"""Boxes as (left, top, right, bottom): overlap, suppression, matching; plain numpy.

The axes may be swapped and the unit is free (pixels, 0 … 1): overlap does not change by that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Detections", "best", "match", "pairs", "pairwise_overlap", "suppress"]


@dataclass(frozen=True)
class Detections:
    """Detections in one picture, best first.

    Attributes:
        boxes: float32 [n, 4]; where boxes cannot be decoded, their raw numbers [n, k].
        scores: float32 [n].
        labels: Classes, int64 [n].
        places: Where in the model's outputs each stands, int64 [n]; None if that is not known.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64] | None = None

    def take(self, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Detections:
        """Returns the detections at these positions, in this order."""
        places = None if self.places is None else self.places[which]
        return Detections(self.boxes[which], self.scores[which], self.labels[which], places)


def pairwise_overlap(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Returns intersection over union of boxes [n, 4] and [m, 4] as float32 [n, m].

    Boxes too large for their area to be a number overlap nothing.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        shared = _common(first, second, 0) * _common(first, second, 1)
        areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) for boxes in (first, second)]
        union = areas[0][:, None] + areas[1][None, :] - shared
        overlap: npt.NDArray[np.float32] = (shared / np.maximum(union, 1e-9)).astype(np.float32)
    return np.nan_to_num(overlap, copy=False)


def suppress(
    boxes: npt.NDArray[np.float32], classes: npt.NDArray[np.int64], overlap: float
) -> npt.NDArray[np.int64]:
    """Returns the positions that survive class-wise non-maximum suppression.

    Args:
        boxes: [n, 4], best first.
        classes: [n].
        overlap: A box that overlaps a better one of its class by more is dropped.
    """
    alive = np.zeros(len(boxes), np.bool_)
    for label in np.unique(classes):
        mine = np.flatnonzero(classes == label)
        alive[mine] = _survive(boxes[mine], overlap)
    return np.flatnonzero(alive)


def _survive(boxes: npt.NDArray[np.float32], overlap: float) -> npt.NDArray[np.bool_]:
    """Returns for boxes of one class, best first, whether no surviving better one overlaps it."""
    clashes = pairwise_overlap(boxes, boxes) > overlap
    alive = np.ones(len(boxes), np.bool_)
    for index in range(len(boxes)):
        if alive[index]:
            alive[index + 1 :] &= ~clashes[index, index + 1 :]
    return alive


def _common(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], axis: int
) -> npt.NDArray[np.float32]:
    """Returns the length that boxes [n, 4] and [m, 4] have in common along an axis, [n, m]."""
    low = np.maximum(first[:, None, axis], second[None, :, axis])
    high = np.minimum(first[:, None, axis + 2], second[None, :, axis + 2])
    return np.asarray(np.maximum(high - low, 0), np.float32)


def best(detections: Detections, overlap: float, limit: int) -> Detections:
    """Returns at most ``limit`` detections after class-wise suppression."""
    return detections.take(suppress(detections.boxes, detections.labels, overlap)[:limit])


def match(wanted: Detections, found: Detections, overlap: float) -> npt.NDArray[np.float32]:
    """Pairs boxes of one class, greedily: each found box, best first, takes its nearest free one.

    Args:
        wanted: What should be found.
        found: What was found.
        overlap: Least intersection over union of a pair.

    Returns:
        Overlap of each pair, float32 [pairs].
    """
    return np.array([overlap for *_, overlap in pairs(wanted, found, overlap)], np.float32)


def pairs(
    wanted: Detections, found: Detections, overlap: float
) -> list[tuple[int, int, np.float32]]:
    """As :func:`match`; returns (position in ``wanted``, position in ``found``, overlap)."""
    overlaps = pairwise_overlap(found.boxes, wanted.boxes)
    overlaps[found.labels[:, None] != wanted.labels[None, :]] = -1
    pairs: list[tuple[int, int, np.float32]] = []
    for number, row in enumerate(overlaps):
        if row.size and row.max() >= overlap:
            place = int(row.argmax())
            pairs.append((place, number, row[place]))
            overlaps[:, place] = -1
    return pairs
