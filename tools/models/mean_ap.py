"""Mean average precision as COCO defines it: ten overlaps, 101 recall points, per class.

Lin et al., 2014, "Microsoft COCO", and its published evaluation. Class-wise non-maximum suppression
runs before it. All boxes are (left, top, right, bottom) in pixels.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True)
class Detections:
    """Detections in one picture, best first.

    Attributes:
        boxes: float32 [n, 4].
        scores: float32 [n].
        labels: Classes, int64 [n].
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def decode(
    output: npt.NDArray[np.float32],
    confidence: float = 0.01,
    overlap: float = 0.65,
    limit: int = 100,
) -> Detections:
    """Turn a raw output into detections: threshold, then class-wise non-maximum suppression.

    Args:
        output: float32 [4 + classes, anchors]; centre x, centre y, width, height, scores.
        confidence: Smallest score kept.
        overlap: Boxes of one class that overlap a better one by more are dropped.
        limit: Most detections kept.
    """
    classes, anchors = np.nonzero(output[4:] > confidence)
    scores = output[4:][classes, anchors]
    order = np.argsort(-scores, kind="stable")
    classes, anchors, scores = classes[order], anchors[order], scores[order]
    centres, sizes = output[:2, anchors].T, output[2:4, anchors].T
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    kept = _suppress(boxes, classes, overlap)[:limit]
    return Detections(boxes[kept], scores[kept], classes[kept])


def pairwise_overlap(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return intersection over union of boxes [n, 4] and [m, 4] as float32 [n, m]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    overlap: npt.NDArray[np.float32] = (shared / np.maximum(union, 1e-9)).astype(np.float32)
    return overlap


def mean_average_precision(
    found: Sequence[Detections],
    boxes: Sequence[npt.NDArray[np.float32]],
    labels: Sequence[npt.NDArray[np.int64]],
) -> npt.NDArray[np.float64]:
    """Return the average precision at each of `OVERLAPS`, mean over classes, float64 [10]."""
    classes = sorted({int(label) for picture in labels for label in picture})
    rows = [_class_precision(found, boxes, labels, label) for label in classes]
    mean: npt.NDArray[np.float64] = np.stack(rows).mean(0)
    return mean


def _suppress(
    boxes: npt.NDArray[np.float32], classes: npt.NDArray[np.int64], overlap: float
) -> npt.NDArray[np.int64]:
    """Return the positions that survive; boxes come best first."""
    clashes = (pairwise_overlap(boxes, boxes) > overlap) & (classes[:, None] == classes[None, :])
    alive = np.ones(len(boxes), np.bool_)
    for index in range(len(boxes)):
        if alive[index]:
            alive[index + 1 :] &= ~clashes[index, index + 1 :]
    return np.flatnonzero(alive)


def _class_precision(
    found: Sequence[Detections],
    boxes: Sequence[npt.NDArray[np.float32]],
    labels: Sequence[npt.NDArray[np.int64]],
    label: int,
) -> npt.NDArray[np.float64]:
    """Return the average precision of one class at each overlap, float64 [10]."""
    scores, hits, total = [], [], 0
    for picture, truth, classes in zip(found, boxes, labels, strict=True):
        mine = picture.labels == label
        wanted = truth[classes == label]
        total += len(wanted)
        scores.append(picture.scores[mine])
        hits.append(_match(picture.boxes[mine], wanted))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    true = np.concatenate(hits)[order].cumsum(0)
    return np.array([_area(true[:, index], total) for index in range(len(OVERLAPS))])


def _match(
    boxes: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Mark which detections, best first, hit a box that no better one hit: bool [n, 10]."""
    hits = np.zeros((len(boxes), len(OVERLAPS)), np.bool_)
    overlaps = pairwise_overlap(boxes, wanted)
    for column, threshold in enumerate(OVERLAPS):
        free = np.ones(len(wanted), np.bool_)
        for row in range(len(boxes)):
            candidates = np.where(free, overlaps[row], 0)
            if candidates.size and candidates.max() >= threshold:
                free[candidates.argmax()] = False
                hits[row, column] = True
    return hits


def _area(true: npt.NDArray[np.int64], total: int) -> float:
    """Average the precision envelope at `RECALLS`; `true` counts hits among the best k."""
    if not len(true):
        return 0.0
    precision = np.maximum.accumulate((true / np.arange(1, len(true) + 1))[::-1])[::-1]
    places = np.searchsorted(true / total, RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())
