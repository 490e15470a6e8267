"""Overlap, suppression and matching of boxes, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from onnxq.tasks.boxes import Detections, best, match, pairs, pairwise_overlap, suppress

CORNERS = st.tuples(*[st.floats(0, 50, width=32)] * 4)


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_overlap_of_empty_and_touching_boxes() -> None:
    square = np.array([[10, 10, 20, 20]], np.float32)
    boxes = np.array([[10, 10, 20, 20], [20, 10, 30, 20], [15, 10, 25, 20]], np.float32)

    assert pairwise_overlap(square, boxes)[0].tolist() == pytest.approx([1, 0, 1 / 3], rel=1e-6)
    assert pairwise_overlap(square[:0], boxes).shape == (0, 3)


@given(arrays.arrays(np.float32, (5, 4), elements=st.floats(0, 50, width=32)))
def test_overlap_is_a_share_and_does_not_change_with_the_axes(
    boxes: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    ordered = np.concatenate(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1
    )
    overlap = pairwise_overlap(ordered, ordered)

    assert (overlap >= 0).all()
    assert (overlap <= 1 + 1e-5).all()
    swapped = ordered[:, [1, 0, 3, 2]]
    np.testing.assert_allclose(pairwise_overlap(swapped, swapped), overlap, rtol=1e-5)


def test_suppression_keeps_the_best_of_a_class() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10]], np.float32)

    assert suppress(boxes, np.array([0, 0, 1]), 0.5).tolist() == [0, 2]
    assert suppress(boxes, np.array([0, 0, 1]), 0.9).tolist() == [0, 1, 2]


def test_the_best_are_at_most_so_many() -> None:
    found = detections((0, 0, 1, 1, 0.9, 0), (5, 5, 6, 6, 0.8, 0), (9, 9, 10, 10, 0.7, 0))

    assert best(found, 0.5, 2).scores.tolist() == pytest.approx([0.9, 0.8])


def test_a_pair_has_one_class_and_enough_overlap() -> None:
    wanted = detections((0, 0, 10, 10, 0.9, 0), (20, 20, 30, 30, 0.8, 1))
    found = detections((0, 0, 10, 8, 0.9, 0), (20, 20, 30, 30, 0.8, 0), (0, 0, 10, 4, 0.7, 0))

    assert match(wanted, found, 0.5).tolist() == pytest.approx([0.8])


def test_a_box_is_taken_once_by_the_better_score() -> None:
    wanted = detections((0, 0, 10, 10, 0.9, 0))
    found = detections((0, 0, 10, 9, 0.9, 0), (0, 0, 10, 10, 0.8, 0))

    assert match(wanted, found, 0.5).tolist() == pytest.approx([0.9])


def test_nothing_matches_nothing() -> None:
    assert match(detections(), detections((0, 0, 1, 1, 0.5, 0)), 0.5).size == 0
    assert match(detections((0, 0, 1, 1, 0.5, 0)), detections(), 0.5).size == 0


def test_boxes_without_end_overlap_nothing() -> None:
    endless = np.array([[-3e38, -3e38, 3e38, 3e38], [0, 0, 1, 1]], np.float32)

    assert pairwise_overlap(endless, endless).tolist() == [[0, 0], [0, 1]]


def test_pairs_say_which_box_belongs_to_which() -> None:
    wanted = detections((0, 0, 10, 10, 0.9, 0), (20, 20, 30, 30, 0.8, 1))
    found = detections((20, 20, 30, 30, 0.8, 1), (50, 50, 60, 60, 0.8, 0), (0, 0, 10, 8, 0.7, 0))

    matched = pairs(wanted, found, 0.5)

    assert [places for *places, _ in matched] == [[1, 0], [0, 2]]
    assert [overlap for *_, overlap in matched] == pytest.approx([1, 0.8])
