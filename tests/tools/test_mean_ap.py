"""The shipped detector's output as detections."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tools.models.mean_ap import decode


def raw(*rows: tuple[float, ...]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32).T


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
