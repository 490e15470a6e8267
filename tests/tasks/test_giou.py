"""1 - GIoU against hand-made pairs and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.tasks.giou import from_centre, giou_loss, to_corners

NUMBER = st.floats(0, 9)
SIDE = st.floats(0.5, 5)


def box(*numbers: float) -> np.ndarray:
    return np.array([numbers], np.float64)


@pytest.mark.parametrize(
    ("found", "loss"),
    [
        ((0, 0, 2, 2), 0),
        ((0, 0, 2, 4), 0.5),
        ((4, 0, 6, 2), 1 + 4 / 12),
        ((1, 0, 3, 2), 1 - 2 / 6),
        ((1, 1, 1, 1), 1),
        ((3, 3, 2, 2), 1),
    ],
)
def test_pairs_by_hand(found: tuple[float, ...], loss: float) -> None:
    assert giou_loss(box(0, 0, 2, 2), box(*found))[0] == pytest.approx(loss)


def test_equal_boxes_have_no_slope() -> None:
    assert (giou_loss(box(0, 0, 2, 2), box(0, 0, 2, 2))[1] == 0).all()


@given(NUMBER, NUMBER, SIDE, SIDE, st.integers(0, 3))
def test_slope(x: float, y: float, width: float, height: float, at: int) -> None:
    wanted = box(3.123, 2.456, 6.789, 5.321)
    found = box(x, y, x + width, y + height)
    step = np.zeros((1, 4))
    step[0, at] = 1e-6
    values = [giou_loss(wanted, found + sign * step)[0][0] for sign in (1, 0, -1)]
    one_sided = (values[0] - values[1]) / 1e-6, (values[1] - values[2]) / 1e-6
    if abs(one_sided[0] - one_sided[1]) > 1e-3:  # a kink
        return

    assert giou_loss(wanted, found)[1][0, at] == pytest.approx(one_sided[0], abs=1e-3)


def test_slope_by_centre_and_size() -> None:
    wanted, found = box(0, 0, 4, 4), np.array([[3.0, 2.5, 3.0, 2.0]])
    slope = from_centre(giou_loss(wanted, to_corners(found))[1])

    for at in range(4):
        step = np.zeros((1, 4))
        step[0, at] = 1e-6
        ahead, behind = (giou_loss(wanted, to_corners(found + s * step))[0][0] for s in (1, -1))
        assert slope[0, at] == pytest.approx((ahead - behind) / 2e-6, abs=1e-6)
