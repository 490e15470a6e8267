"""What the shipped detector finds: its raw output as detections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.boxes import Detections, best

if TYPE_CHECKING:
    import numpy.typing as npt


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
    return best(Detections(boxes, scores, classes), overlap, limit)
