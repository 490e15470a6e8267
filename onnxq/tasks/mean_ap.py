"""Mean average precision as COCO defines it: ten overlaps, 101 recall points, per class.

Lin et al., 2014, "Microsoft COCO", and its published evaluation. Class-wise non-maximum suppression
runs before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.boxes import pairwise_overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnxq.tasks.boxes import Detections

__all__ = ["OVERLAPS", "RECALLS", "mean_average_precision"]

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


def mean_average_precision(
    found: Sequence[Detections],
    boxes: Sequence[npt.NDArray[np.float32]],
    labels: Sequence[npt.NDArray[np.int64]],
) -> npt.NDArray[np.float64]:
    """Returns the average precision at each of :data:`OVERLAPS`, mean over classes, float64 [10].

    Args:
        found: Detections by picture.
        boxes: The true boxes by picture, [n, 4].
        labels: Their classes by picture, [n]; at least one in all.
    """
    classes = sorted({int(label) for picture in labels for label in picture})
    rows = [_class_precision(found, boxes, labels, label) for label in classes]
    mean: npt.NDArray[np.float64] = np.stack(rows).mean(0)
    return mean


def _class_precision(
    found: Sequence[Detections],
    boxes: Sequence[npt.NDArray[np.float32]],
    labels: Sequence[npt.NDArray[np.int64]],
    label: int,
) -> npt.NDArray[np.float64]:
    """Returns the average precision of one class at each overlap, float64 [10]."""
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
    """Marks which detections, best first, hit a box that no better one hit: bool [n, 10]."""
    hits = np.zeros((len(boxes), len(OVERLAPS)), np.bool_)
    if not hits.size or not len(wanted):
        return hits
    overlaps = pairwise_overlap(boxes, wanted)
    for column, threshold in enumerate(OVERLAPS):
        free = np.ones(len(wanted), np.bool_)
        for row in range(len(boxes)):
            candidates = np.where(free, overlaps[row], 0)
            if candidates.max() >= threshold:
                free[candidates.argmax()] = False
                hits[row, column] = True
    return hits


def _area(true: npt.NDArray[np.int64], total: int) -> float:
    """Averages the precision envelope at :data:`RECALLS`; `true` counts hits among the best k."""
    if not len(true):
        return 0.0
    precision = np.maximum.accumulate((true / np.arange(1, len(true) + 1))[::-1])[::-1]
    places = np.searchsorted(true / total, RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())
