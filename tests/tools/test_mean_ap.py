"""Mean average precision against cases small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tools.models.mean_ap import Detections, decode, mean_average_precision, pairwise_overlap

SQUARE = np.array([[10, 10, 20, 20]], np.float32)
ZERO = np.array([0], np.int64)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def raw(*rows: tuple[float, ...]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32).T


def test_exact_detection_scores_one_everywhere() -> None:
    result = mean_average_precision([detections((10, 10, 20, 20, 0.9, 0))], [SQUARE], [ZERO])
    np.testing.assert_array_equal(result, np.ones(10))


def test_no_detection_scores_zero() -> None:
    np.testing.assert_array_equal(mean_average_precision([NOTHING], [SQUARE], [ZERO]), np.zeros(10))


def test_wrong_class_scores_zero() -> None:
    result = mean_average_precision([detections((10, 10, 20, 20, 0.9, 1))], [SQUARE], [ZERO])
    np.testing.assert_array_equal(result, np.zeros(10))


def test_overlap_of_seven_tenths_counts_up_to_that_threshold() -> None:
    result = mean_average_precision([detections((10, 10, 17.1, 20, 0.9, 0))], [SQUARE], [ZERO])
    np.testing.assert_array_equal(result, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0])


def test_second_hit_on_one_box_is_a_false_positive_but_costs_nothing_behind_the_first() -> None:
    found = detections((10, 10, 20, 20, 0.9, 0), (10, 10, 20, 20, 0.8, 0))
    np.testing.assert_array_equal(mean_average_precision([found], [SQUARE], [ZERO]), np.ones(10))


def test_better_scored_false_positive_halves_the_precision() -> None:
    found = detections((50, 50, 60, 60, 0.95, 0), (10, 10, 20, 20, 0.9, 0))
    np.testing.assert_allclose(
        mean_average_precision([found], [SQUARE], [ZERO]), np.full(10, 0.5), rtol=1e-12
    )


def test_half_the_boxes_found_covers_half_the_recall_points() -> None:
    boxes = np.concatenate([SQUARE, SQUARE + 50])
    result = mean_average_precision(
        [detections((10, 10, 20, 20, 0.9, 0))], [boxes], [np.array([0, 0])]
    )
    np.testing.assert_allclose(result, np.full(10, 51 / 101), rtol=1e-12)


def test_classes_weigh_the_same() -> None:
    boxes = np.concatenate([SQUARE, SQUARE, SQUARE + 50])
    labels = np.array([0, 1, 1])
    result = mean_average_precision([detections((10, 10, 20, 20, 0.9, 0))], [boxes], [labels])
    np.testing.assert_allclose(result, np.full(10, 0.5), rtol=1e-12)


def test_pairwise_overlap_of_empty_and_touching_boxes() -> None:
    boxes = np.array([[10, 10, 20, 20], [20, 10, 30, 20], [15, 10, 25, 20]], np.float32)
    assert pairwise_overlap(SQUARE, boxes)[0].tolist() == pytest.approx([1, 0, 1 / 3], rel=1e-6)
    assert pairwise_overlap(NOTHING.boxes, boxes).shape == (0, 3)


def test_decode_turns_centres_into_corners_and_keeps_the_best_of_a_class() -> None:
    output = raw((15, 15, 10, 10, 0.6, 0.0), (15.5, 15, 10, 10, 0.9, 0.0), (40, 40, 4, 8, 0.0, 0.5))
    found = decode(output)
    assert found.boxes.tolist() == [[10.5, 10.0, 20.5, 20.0], [38.0, 36.0, 42.0, 44.0]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])
    np.testing.assert_array_equal(found.labels, [0, 1])


def test_decode_keeps_equal_boxes_of_different_classes() -> None:
    np.testing.assert_array_equal(decode(raw((15, 15, 10, 10, 0.6, 0.7))).labels, [1, 0])


@pytest.mark.parametrize(("confidence", "count"), [(0.5, 1), (0.95, 0), (0.1, 2)])
def test_decode_drops_what_is_below_the_confidence(confidence: float, count: int) -> None:
    output = raw((15, 15, 10, 10, 0.9, 0.0), (50, 50, 10, 10, 0.4, 0.0))
    assert len(decode(output, confidence).scores) == count
