"""The loss of classifiers, in the three forms that scores have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxq.tasks.classification_loss import AnswerForm, ClassificationLoss, answer_form
from tests.tasks.slopes import assert_gradient, mean_square, second_difference

FORMS: list[AnswerForm] = ["logits", "probabilities", "independent"]
LOGITS = np.array([[2.0, 0.5, -1.0], [0.1, 0.2, 0.4]])


def scores(form: AnswerForm, shift: float = 0.0) -> dict[str, np.ndarray]:
    logits = LOGITS + shift * np.array([1, -1, 0.5])
    if form == "probabilities":
        logits = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    elif form == "independent":
        logits = 1 / (1 + np.exp(-logits))
    return {"y": logits.astype(np.float32)[:, :, None]}


@pytest.mark.parametrize("form", FORMS)
def test_equal_scores_lose_nothing_others_do(form: AnswerForm) -> None:
    loss = ClassificationLoss("y", form)

    assert loss.measure(scores(form), scores(form)) == pytest.approx(0, abs=1e-12)
    assert loss.measure(scores(form), scores(form, 0.5)) > 0.01


def test_logits_and_their_softmax_lose_the_same() -> None:
    losses = [
        ClassificationLoss("y", form).measure(scores(form), scores(form, 0.5)) for form in FORMS[:2]
    ]

    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


LOSSES = [
    *((form, ClassificationLoss("y", form)) for form in FORMS),
    ("logits", ClassificationLoss("y", "logits", 4.0)),
]


@pytest.mark.parametrize(("form", "loss"), LOSSES)
def test_gradient_is_the_slope(form: AnswerForm, loss: ClassificationLoss) -> None:
    assert_gradient(loss, scores(form), scores(form, 0.5))


@pytest.mark.parametrize(("form", "loss"), LOSSES)
def test_drawn_cotangents_have_the_curvature(form: AnswerForm, loss: ClassificationLoss) -> None:
    toward = {"y": np.arange(6.0).reshape(2, 3, 1)}

    expected = second_difference(loss, scores(form), toward, 1e-3)

    assert mean_square(loss, scores(form), toward) == pytest.approx(expected, rel=0.2)


def test_what_is_no_number_is_infinitely_bad() -> None:
    broken = {"y": np.full((2, 3, 1), np.inf, np.float32)}

    assert ClassificationLoss("y").measure(scores("logits"), broken) == math.inf


@pytest.mark.parametrize(
    ("behind", "form"),
    [
        ("Softmax", "probabilities"),
        ("LogSoftmax", "logits"),
        ("Sigmoid", "independent"),
        (None, "logits"),
    ],
)
def test_form_by_the_operator_behind(behind: str | None, form: AnswerForm) -> None:
    assert answer_form(behind) == form


def answers(margin: float, count: int = 40) -> list[dict[str, np.ndarray]]:
    """Logits of a model that is sure of nine pictures in ten, by ``margin``."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, 1, 10)).astype(np.float32)
    rows[::10, 0, 3] += 1
    rows[np.arange(count) % 10 != 0, 0, 3] += margin
    return [{"y": row} for row in rows]


def test_a_loss_to_rank_by_lets_sure_pictures_count() -> None:
    plain = ClassificationLoss("y")
    sure = plain.softened(answers(14))

    assert sure.note == "logits over 4"
    wanted, found = answers(14)[1], answers(14)[2]
    assert plain.measure(wanted, found) < 1e-4 < sure.measure(wanted, found)


def test_at_any_temperature_a_small_change_of_even_logits_costs_the_same() -> None:
    wanted = {"y": np.zeros((1, 5), np.float32)}
    found = {"y": np.array([[0.01, -0.01, 0.02, 0.0, -0.02]], np.float32)}

    losses = [ClassificationLoss("y", "logits", t).measure(wanted, found) for t in (1, 2, 8)]
    assert losses == pytest.approx([losses[0]] * 3, rel=0.02)


def test_a_loss_of_unsure_answers_stays_as_it_is() -> None:
    assert not ClassificationLoss("y").softened(answers(1)).note
    assert not ClassificationLoss("y").softened([]).note


@pytest.mark.parametrize("form", FORMS[1:])
def test_probabilities_have_no_temperature(form: AnswerForm) -> None:
    assert not ClassificationLoss("y", form).softened([scores(form)]).note


def test_softening_starts_from_the_logits_themselves() -> None:
    sure = ClassificationLoss("y").softened(answers(14))

    assert sure.softened(answers(14)).note == sure.note
    assert not sure.softened(answers(1)).note
