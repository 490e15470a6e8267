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


@pytest.mark.parametrize("form", FORMS)
def test_gradient_is_the_slope(form: AnswerForm) -> None:
    assert_gradient(ClassificationLoss("y", form), scores(form), scores(form, 0.5))


@pytest.mark.parametrize("form", FORMS)
def test_drawn_cotangents_have_the_curvature(form: AnswerForm) -> None:
    loss = ClassificationLoss("y", form)
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
