"""ODOL, the object detection output loss: what a detector says, against the float model.

DetPTQ (Niu et al. 2023, "Improving Post-Training Quantization on Object Detection with Task
Loss-Guided Lp Metric") chooses ranges by such a loss. Its formula is not public; this one is a
reconstruction from what the abstract says: a classification and a localisation term, over what the
float model detects. With p and q the scores of the float and the other model, for every place i of
a picture and class c, on raw heads before suppression:

    s_i = max_c p_ic,    w_i = s_i  where s_i ≥ FOREGROUND, else BACKGROUND
    classes      = Σ_i w_i · Σ_c D(p_ic || q_ic) / n
    localisation = Σ_i w_i · L_i / n        over i with s_i ≥ FOREGROUND
    ODOL         = classes + LOCALISATION · localisation
    n            = max(1, Σ w_i over i with s_i ≥ FOREGROUND)

D is Bernoulli's divergence with ε = :data:`INWARD`, which ignores noise on scores far below it. L
is 1 - GIoU where boxes can be decoded. Elsewhere it is the L1 distance over the mean side of a box
whose numbers are the distances of its sides: of the numbers as they are where there are four, else
of the means of four distributions over bins (generalized focal loss, Li et al. 2020).

The mean is over pictures; n ≥ 1 keeps pictures in which next to nothing is detected from
counting as much as full ones.

Curvature: that of the classes is exact. The localisation has a kink at equality; what stands in for
it is ½·Σ w_i |Δ_i|² / n, Δ being the corners' shifts in units of the box's sides, or the distances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.box_loss import box_loss, box_spread
from onnxq.tasks.divergence import bernoulli_curvature, bernoulli_divergence, bernoulli_value
from onnxq.tasks.loss import OutputLoss, signs

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.tasks.base import Outputs
    from onnxq.tasks.head import Head

    Array = npt.NDArray[np.float64]

__all__ = ["BACKGROUND", "FOREGROUND", "INWARD", "LOCALISATION", "DetectionLoss"]

FOREGROUND = 0.1
"""Least score of a place where the float model detects something; a third of what is shown."""

BACKGROUND = 0.1
"""Weight of all other places: what appears there is wrong, however many there are."""

LOCALISATION = 0.25
"""Weight of the localisation. A box counts as found while it overlaps by half, and the boxes of a
rounded model are off by far more than its scores: with a weight of 1 they are nine tenths of the
loss, and what is chosen by it has the worse scores (``tools/study/calibration.md``).
"""

INWARD = 0.01
"""ε of the classes' divergence."""


@dataclass(frozen=True)
class _Weights:
    """The float model's side of one run.

    Attributes:
        scores: p, [batch, places, classes].
        share: Weight of each place, over n and the batch, [batch, places].
        detected: Whether it is foreground, [batch, places].
    """

    scores: Array
    share: Array
    detected: npt.NDArray[np.bool_]


class DetectionLoss(OutputLoss):
    """See the module.

    Args:
        head: How the values become scores and boxes.
    """

    def __init__(self, head: Head) -> None:
        fields = [f for p in head.parts for f in (p.boxes, p.scores, p.objectness) if f is not None]
        self.values = tuple(dict.fromkeys(field.layout.name for field in fields))
        self._head = head

    def measure(self, wanted: Outputs, found: Outputs) -> float:
        """See the base class."""
        real = self._weights(wanted)
        table = self._head.table(found)
        rows = self._boxes(found)[real.detected]
        if not (np.isfinite(table).all() and np.isfinite(rows).all()):
            return math.inf
        # In single precision: a search measures thousands of times what hardly differs.
        divergence = bernoulli_value(real.scores.astype(np.float32), table, INWARD).sum(axis=-1)
        classes = float((real.share * divergence).sum())
        distance = box_loss(self._boxes(wanted)[real.detected], rows, self._head.boxes)[0]
        return classes + LOCALISATION * float((real.share[real.detected] * distance).sum())

    def gradient(self, wanted: Outputs, found: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        """See the base class."""
        real = self._weights(wanted)
        table = self._head.table(found).astype(np.float64)
        by_scores = bernoulli_divergence(real.scores, table, INWARD)[1]
        boxes = self._boxes(wanted)[real.detected], self._boxes(found)[real.detected]
        by_boxes = box_loss(*boxes, self._head.boxes)[1]
        share = real.share[real.detected][:, None]
        return self._spread(
            by_scores * real.share[..., None], LOCALISATION * share * by_boxes, real, found
        )

    def draw(self, wanted: Outputs, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """See the base class."""
        real = self._weights(wanted)
        steep = np.sqrt(bernoulli_curvature(real.scores, INWARD) * real.share[..., None])
        spread = box_spread(self._boxes(wanted)[real.detected], self._head.boxes, rng)
        share = LOCALISATION * real.share[real.detected][:, None]
        return self._spread(steep * signs(steep.shape, rng), np.sqrt(share) * spread, real, wanted)

    def _weights(self, wanted: Outputs) -> _Weights:
        scores = self._head.table(wanted).astype(np.float64)
        best = scores.max(axis=-1)
        detected = best >= FOREGROUND
        total = np.where(detected, best, 0).sum(axis=1, keepdims=True)
        weight = np.where(detected, best, BACKGROUND)
        return _Weights(scores, weight / (np.maximum(total, 1) * len(scores)), detected)

    def _boxes(self, outputs: Outputs) -> Array:
        """Returns the box numbers of all places, [batch, places, numbers]."""
        parts = [part.boxes.take(outputs) for part in self._head.parts]
        return np.concatenate(parts, axis=1).astype(np.float64)

    def _spread(
        self, by_scores: Array, by_rows: Array, real: _Weights, outputs: Outputs
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Returns derivatives by the values, for those by scores and by the detected boxes."""
        to = {name: np.zeros(outputs[name].shape, np.float32) for name in self.values}
        self._head.add_slope(by_scores.astype(np.float32), outputs, to)
        by_boxes = np.zeros((*real.detected.shape, by_rows.shape[1]), np.float32)
        by_boxes[real.detected] = by_rows
        start = 0
        for part in self._head.parts:
            stop = start + part.boxes.take(outputs).shape[1]
            part.boxes.add(by_boxes[:, start:stop], to)
            start = stop
        return to
