"""Training loss of the detector.

Task-aligned assignment (Feng et al., 2021, "TOOD", section 3.3): a cell inside a box is worth
score^ALIGN_SCORE * overlap^ALIGN_OVERLAP to it; the best `TOP` cells learn the box. Loss = class
cross entropy with the normalised worth as target, complete IoU (Zheng et al., 2020, "Distance-IoU
Loss", section 3.3), and cross entropy of the two bins around each true distance (Li et al., 2020,
"Generalized Focal Loss", eq. 6).
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.models.detector import BINS, CLASSES, anchor_points

TOP = 8
ALIGN_SCORE, ALIGN_OVERLAP = 0.5, 6.0
BOX_WEIGHT, CLASS_WEIGHT, BIN_WEIGHT = 7.5, 0.5, 1.5
EPSILON = 1e-9
TINY = 1e-30


@dataclasses.dataclass(frozen=True)
class Truth:
    """True objects of a batch, padded to the same number.

    Attributes:
        boxes: (left, top, right, bottom) in pixels, float [n, m, 4].
        labels: Classes, int64 [n, m].
        real: False where padded, bool [n, m].
    """

    boxes: Tensor
    labels: Tensor
    real: Tensor


def overlap_of(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union of boxes float [..., 4], broadcast over `...`."""
    low, high = (
        torch.maximum(first[..., :2], second[..., :2]),
        torch.minimum(first[..., 2:], second[..., 2:]),
    )
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1) for boxes in (first, second)]
    return shared / (areas[0] + areas[1] - shared + EPSILON)


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return IoU minus centre distance and aspect terms of boxes float [..., 4], broadcast."""
    iou = overlap_of(first, second)
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(
        first[..., :2], second[..., :2]
    )
    apart = (
        ((first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2).square().sum(-1)
    )
    sizes = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3) for boxes in (first, second)]
    angles = [torch.atan(size[..., 0] / size[..., 1]) for size in sizes]
    aspect = (4 / math.pi**2) * (angles[0] - angles[1]).square()
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + EPSILON)
    return iou - apart / (hull.square().sum(-1) + EPSILON) - weight * aspect


class DetectorLoss(nn.Module):
    """Loss of raw head outputs against padded boxes for pictures of one size."""

    def __init__(self, size: int) -> None:
        """Prepare the cells of a picture of `size` pixels."""
        super().__init__()
        self.centres, self.strides = anchor_points(size)
        self.bins = torch.arange(BINS, dtype=torch.float32)

    def forward(self, distances: Tensor, scores: Tensor, truth: Truth) -> Tensor:
        """Return the scalar loss of distances [n, 4 * BINS, a] and score logits [n, CLASSES, a]."""
        logits = distances.view(len(distances), 4, BINS, -1).permute(0, 3, 1, 2)
        scores = scores.transpose(1, 2)
        reach = logits.softmax(-1) @ self.bins * self.strides[None, :, None]
        points = (self.centres * self.strides[:, None])[None]
        boxes = torch.cat((points - reach[..., :2], points + reach[..., 2:]), -1)
        with torch.no_grad():
            owner, targets = self._assign(boxes, scores.sigmoid(), truth)
        total = targets.sum().clamp(min=1.0)
        loss = CLASS_WEIGHT * functional.binary_cross_entropy_with_logits(
            scores, targets, reduction="sum"
        )
        chosen = owner >= 0
        if chosen.any():
            weight = targets[chosen].sum(-1)
            picture = torch.arange(len(owner))[:, None].expand_as(owner)[chosen]
            wanted = truth.boxes[picture, owner[chosen]]
            loss = loss + BOX_WEIGHT * ((1 - complete_iou(boxes[chosen], wanted)) * weight).sum()
            loss = loss + BIN_WEIGHT * (self._bin_loss(logits, wanted, chosen) * weight).sum()
        return loss / total

    def _assign(self, boxes: Tensor, scores: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
        """Give each cell to at most one object.

        Args:
            boxes: Predicted, float [n, a, 4].
            scores: Predicted, float [n, a, CLASSES], 0 to 1.
            truth: The objects.

        Returns:
            Object of each cell or -1, int64 [n, a], and class targets float [n, a, CLASSES].
        """
        points = (self.centres * self.strides[:, None])[None, None]
        inside = (points > truth.boxes[:, :, None, :2]).all(-1) & (
            points < truth.boxes[:, :, None, 2:]
        ).all(-1)
        inside &= truth.real[..., None]
        overlap = overlap_of(boxes[:, None], truth.boxes[:, :, None]) * inside
        index = truth.labels[..., None].expand(-1, -1, boxes.shape[1])
        score = scores.transpose(1, 2).gather(1, index)
        worth = score**ALIGN_SCORE * overlap**ALIGN_OVERLAP * inside
        bar = worth.topk(TOP, -1).values[..., -1:]
        candidate = inside & (worth >= bar) & (worth > 0)
        contested = torch.where(candidate, overlap, -1.0)
        best, owner = contested.max(1)
        owner = torch.where(best >= 0, owner, -1)
        mine = candidate & (owner[:, None] == torch.arange(truth.boxes.shape[1])[None, :, None])
        worth = worth * mine
        peak = (overlap * mine).amax(-1, keepdim=True)
        quality = (worth / worth.amax(-1, keepdim=True).clamp(min=TINY) * peak).amax(1)
        label = truth.labels.gather(1, owner.clamp(min=0))
        return owner, functional.one_hot(label, CLASSES) * (quality * (owner >= 0))[..., None]

    def _bin_loss(self, logits: Tensor, wanted: Tensor, chosen: Tensor) -> Tensor:
        """Return the cross entropy with the two bins next to each true distance, float [k]."""
        centres, strides = (
            self.centres.expand(len(chosen), -1, -1)[chosen],
            self.strides.expand_as(chosen)[chosen],
        )
        cells = wanted / strides[:, None]
        target = torch.cat((centres - cells[:, :2], cells[:, 2:] - centres), -1).clamp(
            0, BINS - 1 - 0.01
        )
        left = target.long()
        share = target - left
        likelihood = logits[chosen].log_softmax(-1)
        low = likelihood.gather(-1, left[..., None])[..., 0]
        high = likelihood.gather(-1, left[..., None] + 1)[..., 0]
        return -(low * (1 - share) + high * share).mean(-1)
