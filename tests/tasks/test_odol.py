"""The object detection output loss on every layout that a head may have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxq.tasks.head import BoxForm, Head, Part, ScoreForm
from onnxq.tasks.layout import Field, Layout
from onnxq.tasks.odol import BACKGROUND, INWARD, LOCALISATION, DetectionLoss
from tests.tasks.slopes import assert_gradient, mean_square, second_difference

SIGMOID = ScoreForm("sigmoid")
PLAIN = ScoreForm()
ROWS = Layout("y", "rows")
# Corners and one score: two objects and a place where nothing is.
TABLE = [(0, 0, 10, 10, 0.8), (20, 20, 30, 30, 0.4), (40, 40, 50, 50, 0.02)]
HEAD = Head((Part(Field(ROWS, 0, 4), Field(ROWS, 4)),), "corners", PLAIN)


def rows(*changed: tuple[int, int, float]) -> dict[str, np.ndarray]:
    table = np.array([TABLE], np.float32)
    for row, column, value in changed:
        table[0, row, column] = value
    return {"y": table}


def divergence(p: float, q: float) -> float:
    p, q = (INWARD + (1 - 2 * INWARD) * side for side in (p, q))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def test_equal_outputs_lose_nothing() -> None:
    assert DetectionLoss(HEAD).measure(rows(), rows()) == 0


def test_a_score_lost_counts_by_what_was_detected() -> None:
    loss = DetectionLoss(HEAD).measure(rows(), rows((0, 4, 0.3)))

    assert loss == pytest.approx(0.8 * divergence(0.8, 0.3) / 1.2, rel=1e-5)


def test_a_score_made_up_counts_as_background() -> None:
    loss = DetectionLoss(HEAD).measure(rows(), rows((2, 4, 0.6)))

    assert loss == pytest.approx(BACKGROUND * divergence(0.02, 0.6) / 1.2, rel=1e-5)


def test_a_box_moved_counts_by_its_overlap() -> None:
    loss = DetectionLoss(HEAD).measure(rows(), rows((1, 2, 40)))

    assert loss == pytest.approx(LOCALISATION * 0.4 * 0.5 / 1.2, rel=1e-5)


def test_a_box_moved_where_nothing_is_does_not_count() -> None:
    assert DetectionLoss(HEAD).measure(rows(), rows((2, 2, 80))) == 0


def test_pictures_with_little_in_them_count_little() -> None:
    faint = np.array([TABLE[2], (0, 0, 10, 10, 0.2)], np.float32)[None]
    loss = DetectionLoss(HEAD).measure({"y": faint}, {"y": faint * [1, 1, 1, 1, 0]})

    background = BACKGROUND * divergence(0.02, 0)
    assert loss == pytest.approx(0.2 * divergence(0.2, 0) + background, rel=1e-4)


def test_the_mean_is_over_pictures() -> None:
    twice = np.concatenate([rows()["y"], rows((0, 4, 0.3))["y"]])
    one = DetectionLoss(HEAD).measure(rows(), rows((0, 4, 0.3)))

    loss = DetectionLoss(HEAD).measure({"y": rows()["y"].repeat(2, axis=0)}, {"y": twice})

    assert loss == pytest.approx(one / 2)


def test_what_is_no_number_is_infinitely_bad() -> None:
    assert DetectionLoss(HEAD).measure(rows(), rows((2, 4, math.nan))) == math.inf


def layouts() -> dict[str, tuple[Head, dict[str, np.ndarray]]]:
    """Name → a head, and outputs of two pictures that it reads."""
    rng = np.random.default_rng(3)

    def logits(*shape: int) -> np.ndarray:
        return rng.normal(0, 1.5, shape).astype(np.float32)

    def boxes(*shape: int) -> np.ndarray:
        return np.asarray(rng.uniform(4, 8, shape) + np.array([0, 0, 8, 8]), np.float32)

    def one(form: Layout, kind: BoxForm, gate: bool = False) -> Head:
        first = 5 if gate else 4
        part = Part(Field(form, 0, 4), Field(form, first), Field(form, 4, 5) if gate else None)
        return Head((part,), kind, SIGMOID, SIGMOID if gate else PLAIN)

    table = np.concatenate([boxes(2, 6, 4), logits(2, 6, 4)], axis=2)
    softmax = Head(
        (Part(Field(Layout("b", "rows")), Field(Layout("s", "rows"))),),
        "centre",
        ScoreForm("softmax", 0),
    )
    levels = tuple(
        Part(
            Field(Layout(f"b{i}", "map")),
            Field(Layout(f"s{i}", "map")),
            Field(Layout(f"o{i}", "map")),
        )
        for i in range(2)
    )
    maps = {
        f"{kind}{i}": logits(2, depth, side, side)
        for i, side in enumerate((3, 2))
        for kind, depth in (("b", 32), ("s", 3), ("o", 1))
    }
    return {
        "rows": (one(ROWS, "corners"), {"y": table}),
        "columns": (one(Layout("y", "columns"), "centre"), {"y": table.transpose(0, 2, 1)}),
        "objectness": (one(ROWS, "corners", gate=True), {"y": table}),
        "flat": (one(ROWS, "corners"), {"y": table[0]}),
        "map": (one(Layout("y", "map", 3), "raw"), {"y": logits(2, 18, 2, 3)}),
        "map-last": (one(Layout("y", "map-last", 3), "raw"), {"y": logits(2, 2, 3, 18)}),
        "softmax": (softmax, {"b": boxes(2, 6, 4), "s": logits(2, 6, 4)}),
        "levels": (Head(levels, "raw", SIGMOID, SIGMOID), maps),
    }


@pytest.mark.parametrize("name", list(layouts()))
def test_gradient_is_the_slope(name: str) -> None:
    head, wanted = layouts()[name]
    rng = np.random.default_rng(4)
    found = {n: a + rng.normal(0, 0.3, a.shape).astype(np.float32) for n, a in wanted.items()}

    assert_gradient(DetectionLoss(head), wanted, found, step=1e-4)


@pytest.mark.parametrize("name", list(layouts()))
def test_looks_at_all_values_of_the_head(name: str) -> None:
    head, wanted = layouts()[name]

    assert set(DetectionLoss(head).values) == set(wanted)


@pytest.mark.parametrize("name", ["rows", "objectness", "softmax", "levels"])
def test_drawn_cotangents_have_the_curvature_of_the_scores(name: str) -> None:
    head, wanted = layouts()[name]
    loss = DetectionLoss(head)
    rng = np.random.default_rng(6)
    toward = {n: np.zeros(a.shape, np.float32) for n, a in wanted.items()}
    for part in head.parts:
        for field in (part.scores, part.objectness):
            if field is not None:
                shape = field.take(wanted).shape
                field.add(rng.standard_normal(shape).astype(np.float32), toward)

    expected = second_difference(loss, wanted, toward, 3e-2)

    assert mean_square(loss, wanted, toward, draws=600) == pytest.approx(expected, rel=0.25)


def test_boxes_are_drawn_in_units_of_their_sides() -> None:
    drawn = DetectionLoss(HEAD).draw(rows(), np.random.default_rng(0))["y"][0]

    expected = math.sqrt(LOCALISATION * 0.8 / 1.2) / 10
    assert np.abs(drawn[0, :4]) == pytest.approx(expected)
    assert (drawn[2, :4] == 0).all()
