"""Exports with finished boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.tasks.end_to_end import FinishedBoxes, FinishedRows, finished
from onnxq.tasks.layout import Seen

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

BOXES = np.array([[0, 0, 10, 10], [5, 5, 20, 20], [0, 0, 0, 0]], np.float32)
SCORES = np.array([0.9, 0.4, 0.0], np.float32)
LABELS = np.array([2, 0, 0], np.int64)


def seen(**outputs: Array) -> list[Seen]:
    return [Seen(name, (array,)) for name, array in outputs.items()]


def rows(*columns: Array) -> Array:
    return np.concatenate([c.reshape(len(BOXES), -1) for c in columns], axis=1).astype(np.float32)


ZERO = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    "outputs",
    [
        {"boxes": BOXES, "labels": LABELS, "scores": SCORES},
        {"boxes": BOXES[None], "scores": SCORES[None], "labels": LABELS[None]},
        {"b": BOXES[None], "s": SCORES[None], "l": LABELS[None].astype(np.float32)},
        {"n": np.array([[2]], np.int32), "b": BOXES[None], "s": SCORES[None], "l": LABELS[None]},
        {"o": rows(BOXES, SCORES, LABELS)[None]},
        {"o": rows(ZERO, BOXES, LABELS, SCORES)[None]},
        {"o": rows(ZERO, LABELS, SCORES, BOXES)[None, None]},
    ],
    ids=["flat", "batched", "float_labels", "counted", "six", "seven", "caffe"],
)
def test_finished_boxes_are_read(outputs: dict[str, Array]) -> None:
    reader = finished(seen(**outputs), suppressed=False)
    assert reader is not None
    (found,) = reader.read(outputs, 0.3)

    np.testing.assert_array_equal(found.boxes, BOXES[:2])
    np.testing.assert_array_equal(found.scores, SCORES[:2])
    np.testing.assert_array_equal(found.labels, LABELS[:2])


def test_rows_without_a_batch_need_suppression_in_the_graph() -> None:
    outputs = seen(o=rows(BOXES, SCORES, LABELS))

    assert finished(outputs, suppressed=False) is None
    assert finished(outputs, suppressed=True) == FinishedRows("o", 0, 4, 5, None)


def test_one_class_needs_suppression_in_the_graph() -> None:
    outputs = seen(b=BOXES[None], s=SCORES[None])

    assert finished(outputs, suppressed=False) is None
    assert finished(outputs, suppressed=True) == FinishedBoxes("b", "s")


def test_runs_that_found_nothing_are_read() -> None:
    outputs: dict[str, Array] = {"b": BOXES[:0], "s": SCORES[:0], "l": LABELS[:0]}
    reader = finished(seen(**outputs), suppressed=True)

    assert isinstance(reader, FinishedBoxes)
    assert (reader.scores, reader.labels) == ("s", "l")
    assert [len(found.scores) for found in reader.read(outputs, 0.3)] == [0]


def test_boxes_of_numbered_pictures_stay_apart() -> None:
    reader = FinishedRows("o", 1, 6, 5, 0)
    number = np.array([0, 1, 1], np.float32)
    same = np.array([2, 2, 2])
    (found,) = reader.read({"o": rows(number, BOXES, same, SCORES)}, 0.3)

    assert len(set(found.labels.tolist())) == 2


@pytest.mark.parametrize(
    "array",
    [
        np.random.default_rng(0).normal(size=(1, 20, 6)),
        np.random.default_rng(0).random((1, 20, 7)),
        np.zeros((1, 20, 6)),
        np.random.default_rng(0).random((1, 20, 4)),
    ],
    ids=["noise", "shares", "zeros", "boxes_alone"],
)
def test_other_tables_are_not_taken(array: Array) -> None:
    assert finished(seen(o=array.astype(np.float32)), suppressed=False) is None
