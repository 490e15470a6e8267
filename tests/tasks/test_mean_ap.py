"""Mean average precision against cases small enough to work out by hand."""

from __future__ import annotations

import numpy as np

from onnxq.tasks.boxes import Detections
from onnxq.tasks.mean_ap import mean_average_precision

SQUARE = np.array([[10, 10, 20, 20]], np.float32)
ZERO = np.array([0], np.int64)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


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
