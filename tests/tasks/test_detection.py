"""Boxes of two models against each other, with differences worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest

from onnxq.tasks.detection import BoxComparison, PlaceComparison
from onnxq.tasks.head import Head, Part, ScoreForm
from onnxq.tasks.layout import Field, Layout

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.tasks.base import BoxFidelity

ROWS = Layout("y", "rows")
HEAD = Head((Part(Field(ROWS, 0, 4), Field(ROWS, 4, 6)),), "corners", ScoreForm())
RAW = Head(HEAD.parts, "raw", ScoreForm())

Rows: TypeAlias = Sequence[tuple[float, ...]]

# Two objects of class 0, one of class 1, and a box that nobody counts.
REAL: Rows = [
    (0, 0, 10, 10, 0.9, 0.0),
    (20, 20, 30, 30, 0.8, 0.0),
    (40, 40, 50, 50, 0.0, 0.7),
    (60, 60, 70, 70, 0.2, 0.1),
]


def outputs(*rows: tuple[float, ...]) -> dict[str, npt.NDArray[np.float32]]:
    return {"y": np.array(rows, np.float32)[None]}


def compared(found: Rows, *, raw: bool = False, wanted: Rows = REAL) -> BoxFidelity:
    comparison = PlaceComparison(RAW) if raw else BoxComparison(HEAD)
    comparison.add(outputs(*wanted), outputs(*found))
    boxes = comparison.fidelity().boxes
    assert boxes is not None
    return boxes


def changed(row: int, *values: float) -> Rows:
    return [values if index == row else one for index, one in enumerate(REAL)]


@pytest.mark.parametrize("raw", [False, True])
def test_equal_outputs_give_full_fidelity(raw: bool) -> None:
    boxes = compared(REAL, raw=raw)

    assert (boxes.wanted, boxes.found, boxes.matched, boxes.f1) == (3, 3, 3, 1)
    assert (boxes.mean_iou, boxes.mean_ap, boxes.drift) == (
        (None, None, 0) if raw else (1, 1, None)
    )


def test_a_lost_box_costs_recall() -> None:
    boxes = compared(changed(0, 0, 0, 10, 10, 0.05, 0.0))

    assert (boxes.precision, boxes.recall) == (1, 2 / 3)
    assert boxes.f1 == 0.8


def test_a_box_just_below_the_threshold_is_only_ranked_lower() -> None:
    boxes = compared(changed(2, 40, 40, 50, 50, 0.0, 0.29))

    assert (boxes.found, boxes.matched) == (2, 2)
    assert boxes.mean_ap == 1


def test_a_box_of_another_class_is_lost_and_wrong() -> None:
    boxes = compared(changed(2, 40, 40, 50, 50, 0.7, 0.0))

    assert (boxes.precision, boxes.recall) == (2 / 3, 2 / 3)
    assert boxes.mean_ap == pytest.approx(0.5)


def test_a_moved_box_costs_overlap() -> None:
    """IoU 80/100 of one in three; COCO counts it at seven of ten thresholds."""
    boxes = compared(changed(2, 40, 40, 50, 48, 0.0, 0.7))

    assert (boxes.f1, boxes.matched) == (1, 3)
    assert boxes.mean_iou == pytest.approx((1 + 1 + 0.8) / 3)
    assert boxes.mean_ap == pytest.approx((1 + 0.7) / 2, abs=1e-6)


def test_a_box_moved_too_far_is_no_match() -> None:
    assert compared(changed(2, 44, 44, 54, 54, 0.0, 0.7)).matched == 2


def test_a_second_box_on_an_object_is_suppressed() -> None:
    assert compared([*REAL, (1, 0, 11, 10, 0.6, 0.0)], wanted=REAL).found == 3


def test_boxes_that_are_no_numbers_are_lost() -> None:
    boxes = compared(changed(0, np.nan, 0, np.inf, 10, 0.9, 0.0))

    assert (boxes.found, boxes.matched) == (2, 2)


def test_no_box_in_either_is_not_measured() -> None:
    nothing: Rows = [(0, 0, 1, 1, 0.1, 0.1)]
    boxes = compared(nothing, wanted=nothing)

    assert (boxes.f1, boxes.mean_iou, boxes.mean_ap) == (None, None, None)


def test_samples_add_up() -> None:
    comparison = BoxComparison(HEAD)
    for found in (REAL, changed(0, 0, 0, 10, 10, 0.0, 0.0)):
        comparison.add(outputs(*REAL), outputs(*found))
    boxes = comparison.fidelity().boxes

    assert boxes is not None
    assert (boxes.wanted, boxes.found, boxes.matched) == (6, 5, 5)


def test_raw_numbers_are_compared_where_place_and_class_agree() -> None:
    boxes = compared(changed(2, 44, 40, 50, 50, 0.0, 0.7), raw=True)

    assert boxes.by_place
    assert boxes.drift == pytest.approx(4 / (20 + 100 + 180))


def test_a_candidate_at_another_place_is_no_match() -> None:
    swapped: Rows = [REAL[3], *REAL[1:3], REAL[0]]
    boxes = compared(swapped, raw=True)

    assert (boxes.wanted, boxes.found, boxes.matched) == (3, 3, 2)


def test_outputs_keep_their_noise_ratio() -> None:
    comparison = BoxComparison(HEAD)
    comparison.add(outputs(*REAL), outputs(*REAL))

    assert comparison.fidelity().sqnr == {"y": np.inf}
