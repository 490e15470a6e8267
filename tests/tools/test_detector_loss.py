"""The detector's loss and decoding, where a hand can follow: overlaps, assignment, box geometry."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from tools.models.detector import BINS, CLASSES, Head, anchor_points
from tools.models.detector_loss import DetectorLoss, Truth, complete_iou, overlap_of

SIZE = 64
ANCHORS = (SIZE // 8) ** 2 + (SIZE // 16) ** 2 + (SIZE // 32) ** 2


def one_object() -> Truth:
    return Truth(
        torch.tensor([[[16.0, 16.0, 48.0, 48.0]]]),
        torch.tensor([[3]]),
        torch.ones(1, 1, dtype=torch.bool),
    )


def perfect_outputs(truth: Truth) -> tuple[torch.Tensor, torch.Tensor]:
    """Return head outputs whose best cells state the one object exactly."""
    centres, strides = anchor_points(SIZE)
    cells = truth.boxes[0, 0] / strides[:, None]
    reach = torch.cat((centres - cells[:, :2], cells[:, 2:] - centres), 1).clamp(0, BINS - 1.01)
    bins = torch.arange(BINS, dtype=torch.float32)
    shares = (1 - (reach[..., None] - bins).abs()).clamp(min=1e-12)
    inside = (reach > 0).all(1)
    scores = torch.full((1, CLASSES, ANCHORS), -12.0)
    scores[0, 3, inside] = 12.0
    return shares.log().permute(1, 2, 0).reshape(1, 4 * BINS, ANCHORS), scores


def test_anchor_points_run_from_fine_to_coarse_in_reading_order() -> None:
    centres, strides = anchor_points(SIZE)
    assert centres.shape == (ANCHORS, 2)
    assert centres[:2].tolist() == [[0.5, 0.5], [1.5, 0.5]]
    assert strides[[0, 63, 64, 80, -1]].tolist() == [8, 8, 16, 32, 32]


def test_overlaps_of_shifted_squares() -> None:
    first, second = torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 3.0, 2.0])
    assert overlap_of(first, second).item() == pytest.approx(1 / 3, rel=1e-6)
    assert complete_iou(first, second).item() == pytest.approx(1 / 3 - 1 / 13, rel=1e-6)


def test_complete_iou_of_disjoint_boxes_is_negative() -> None:
    first, second = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([3.0, 0.0, 4.0, 1.0])
    assert complete_iou(first, second).item() == pytest.approx(-9 / 17, rel=1e-6)


def test_perfect_outputs_cost_less_than_any_shifted_truth() -> None:
    truth = one_object()
    loss = DetectorLoss(SIZE)
    outputs = perfect_outputs(truth)
    moved = Truth(truth.boxes + 6.0, truth.labels, truth.real)
    renamed = Truth(truth.boxes, truth.labels + 1, truth.real)
    best = loss(*outputs, truth).item()
    assert best < loss(*outputs, moved).item()
    assert best < loss(*outputs, renamed).item()


def test_padded_objects_change_nothing() -> None:
    truth = one_object()
    padded = Truth(
        torch.cat((truth.boxes, torch.tensor([[[0.0, 0.0, 60.0, 60.0]]])), 1),
        torch.tensor([[3, 5]]),
        torch.tensor([[True, False]]),
    )
    loss = DetectorLoss(SIZE)
    outputs = perfect_outputs(truth)
    assert loss(*outputs, padded).item() == loss(*outputs, truth).item()


def test_a_picture_without_objects_has_a_finite_loss() -> None:
    truth = Truth(
        torch.zeros(1, 1, 4),
        torch.zeros(1, 1, dtype=torch.int64),
        torch.zeros(1, 1, dtype=torch.bool),
    )
    value = DetectorLoss(SIZE)(*perfect_outputs(one_object()), truth).item()
    assert 0 < value < float("inf")


def test_head_decodes_perfect_distances_to_the_box_in_pixels() -> None:
    truth = one_object()
    distances, _ = perfect_outputs(truth)
    head = Head((8, 8, 8), SIZE).eval()
    decoded = head._decode(distances)[0].T
    centres, strides = anchor_points(SIZE)
    points = centres * strides[:, None]
    inside = ((points > 16) & (points < 48)).all(1)
    wanted = torch.tensor([32.0, 32.0, 32.0, 32.0]).expand(int(inside.sum()), 4)
    torch.testing.assert_close(decoded[inside], wanted, atol=1e-3, rtol=0)
