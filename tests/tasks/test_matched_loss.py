"""The loss on finished boxes, whose order may change."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxq.tasks.end_to_end import FinishedBoxes, FinishedRows
from onnxq.tasks.matched_loss import MatchedLoss
from onnxq.tasks.odol import BACKGROUND, FOREGROUND, INWARD, LOCALISATION
from tests.tasks.slopes import assert_gradient, mean_square, second_difference

ROWS = MatchedLoss(FinishedRows("y", 0, 4, 5, None))
BOXES = MatchedLoss(FinishedBoxes("b", "s", "l"))
# Corners, score and label.
TABLE = [
    (0, 0, 10, 10, 0.8, 1),
    (1, 0, 10, 10, 0.6, 2),
    (20, 20, 30, 30, 0.05, 1),
]


def rows(*changed: tuple[int, int, float]) -> dict[str, np.ndarray]:
    table = np.array([TABLE], np.float32)
    for row, column, value in changed:
        table[0, row, column] = value
    return {"y": table}


def apart(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    table = outputs["y"]
    return {"b": table[..., :4], "s": table[..., 4], "l": table[..., 5].astype(np.int64)}


def divergence(p: float, q: float) -> float:
    p, q = (INWARD + (1 - 2 * INWARD) * side for side in (p, q))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def test_equal_lists_lose_nothing_in_whatever_order() -> None:
    assert ROWS.measure(rows(), rows()) == 0
    assert ROWS.measure(rows(), {"y": rows()["y"][:, ::-1]}) == 0


def test_a_score_lost_counts() -> None:
    expected = 0.8 * divergence(0.8, 0.3) / 1.4

    assert ROWS.measure(rows(), rows((0, 4, 0.3))) == pytest.approx(expected, rel=1e-5)


def test_a_box_of_another_class_is_missed_and_made_up() -> None:
    missed = 0.8 * (divergence(0.8, 0) + LOCALISATION)
    made_up = BACKGROUND * divergence(FOREGROUND, 0.8)

    loss = ROWS.measure(rows(), rows((0, 5, 7)))

    assert loss == pytest.approx((missed + made_up) / 1.4, rel=1e-5)


def test_boxes_and_scores_apart_lose_the_same() -> None:
    found = rows((0, 4, 0.3), (1, 2, 14))

    loss = BOXES.measure(apart(rows()), apart(found))

    assert loss == pytest.approx(ROWS.measure(rows(), found))


def test_numbered_pictures_in_one_list_do_not_meet() -> None:
    numbered = MatchedLoss(FinishedRows("y", 1, 6, 5, 0))
    table = np.concatenate([[[0.0], [1.0]], np.array(TABLE)[[0, 0]][:, [0, 1, 2, 3, 5, 4]]], axis=1)
    other = table.copy()
    other[1, 0] = 3

    assert numbered.measure({"y": table}, {"y": table}) == 0
    assert numbered.measure({"y": table}, {"y": other}) > 1


def test_an_empty_list_misses_all() -> None:
    loss = ROWS.measure(rows(), {"y": np.zeros((1, 0, 6), np.float32)})

    missed = sum(p * (divergence(p, 0) + LOCALISATION) for p in (0.8, 0.6))
    assert loss == pytest.approx(missed / 1.4, rel=1e-5)


def test_gradient_is_the_slope() -> None:
    found = rows((0, 4, 0.6), (2, 4, 0.3), (1, 4, 0.5))
    found["y"][0, :, :4] += np.array([0.5, 0.7, -1, 1.2], np.float32)

    assert_gradient(BOXES, apart(rows()), apart(found))
    slopes = ROWS.gradient(rows(), found)["y"]
    parts = BOXES.gradient(apart(rows()), apart(found))
    np.testing.assert_array_equal(slopes[..., :4], parts["b"])
    np.testing.assert_array_equal(slopes[..., 4], parts["s"])


def test_drawn_cotangents_have_the_curvature_of_the_scores() -> None:
    toward = {"y": np.zeros((1, 3, 6))}
    toward["y"][0, :, 4] = 1

    expected = second_difference(ROWS, rows(), toward, 1e-3)

    assert mean_square(ROWS, rows(), toward) == pytest.approx(expected, rel=0.1)
