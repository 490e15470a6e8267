"""Detections on a picture: which colour is where."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from onnxq.report.draw_boxes import Side, side_by_side
from onnxq.tasks.boxes import Detections

GREEN, RED = (0, 200, 83), (255, 23, 68)
HEAD, GAP = 16, 8


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.5, np.float32),
        np.arange(len(boxes), dtype=np.int64),
    )


def drawn(
    left: Side, right: Side, size: tuple[int, int] = (500, 600)
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Returns both panels without their heads, uint8 [height, width, 3]."""
    levels = np.full((*size, 3), 90, np.uint8)
    sheet = np.asarray(side_by_side(levels, left, right))[HEAD:]
    width = (sheet.shape[1] - GAP) // 2
    return sheet[:, :width], sheet[:, width + GAP :]


NOTHING = Side("b", found(), frozenset())


def test_a_box_stands_where_it_is_on_the_side_of_its_model() -> None:
    left, right = drawn(Side("a", found((100, 200, 300, 400)), frozenset({0})), NOTHING)

    rows, columns = np.nonzero((left == GREEN).all(axis=2))
    assert (columns.min(), columns.max()) == (100, 300)
    assert rows.max() == 400
    assert (left[300, 100:102] == GREEN).all()
    assert (right == 90).all()


def test_a_box_that_the_other_model_lacks_is_red_and_twice_as_thick() -> None:
    left, _ = drawn(Side("a", found((100, 200, 300, 400)), frozenset()), NOTHING)

    assert not (left == GREEN).all(axis=2).any()
    assert (left[300, 100:104] == RED).all()
    assert (left[300, 104] == 90).all()


def test_small_pictures_are_enlarged_and_their_boxes_with_them() -> None:
    left, _ = drawn(Side("a", found((10, 20, 30, 40)), frozenset({0})), NOTHING, (100, 100))

    assert left.shape == (500, 500, 3)
    rows, columns = np.nonzero((left == GREEN).all(axis=2))
    assert (columns.min(), columns.max(), rows.max()) == (50, 150, 200)


@pytest.mark.parametrize(
    "box", [(-50, -50, 700, 700), (10, 10, 5, 5), (0, 0, 0, 0), (1e30, 0, 2e30, 9)]
)
def test_boxes_beyond_the_picture_do_not_stop_the_drawing(
    box: tuple[float, float, float, float],
) -> None:
    left, _ = drawn(Side("a", found(box), frozenset()), NOTHING)

    assert left.shape == (500, 600, 3)


def test_names_that_the_font_lacks_are_drawn_somehow() -> None:
    plain, strange = (
        side_by_side(np.zeros((9, 9, 3), np.uint8), NOTHING, side)
        for side in (NOTHING, NOTHING._replace(name="模型.onnx"))
    )

    assert plain.size == strange.size
    assert plain.tobytes() != strange.tobytes()
