"""Top-1 agreement, and what is a score vector."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.tasks.classification import classification, is_embedding, is_scores


def test_equal_answers_are_counted_row_by_row() -> None:
    comparison = classification("y", (4, 3), None).comparison()
    wanted = np.eye(4, 3, dtype=np.float32)
    found = wanted.copy()
    found[0] = (0, 0, 1)
    comparison.add({"y": wanted}, {"y": found})
    agreement = comparison.fidelity().agreement

    assert agreement is not None
    assert (agreement.value, agreement.n) == (0.75, 4)


def test_noise_is_measured_beside_agreement() -> None:
    comparison = classification("y", (1, 3), None).comparison()
    wanted = np.array([[1, 2, 3]], np.float32)
    comparison.add({"y": wanted}, {"y": wanted * 1.1})

    assert comparison.fidelity().sqnr["y"] == pytest.approx(20, abs=1e-4)


def test_rows_that_differ_in_number_are_different_answers() -> None:
    comparison = classification("y", (4, 3), None).comparison()
    comparison.add({"y": np.eye(4, 3)}, {"y": np.eye(3, 3)})
    comparison.add({"y": np.zeros((0, 3))}, {"y": np.zeros((0, 3))})
    agreement = comparison.fidelity().agreement

    assert agreement is not None
    assert (agreement.value, agreement.n) == (0, 4)


def test_no_samples_are_no_agreement() -> None:
    assert classification("y", (1, 3), None).comparison().fidelity().agreement is None


def test_the_description_names_output_classes_and_operator() -> None:
    task = classification("y", (1, 3), "Softmax")
    assert task.description == "classification: y holds scores of 3 classes from Softmax"


@pytest.mark.parametrize(
    ("shape", "scores"),
    [
        ((1, 4), True), ((None, 4), True), ((1, 4, 1, 1), True), ((1, 1), False),
        ((1, 4, 2), False), ((4,), False), ((1, None), False), ((), False), ((1, 0), False),
    ],
)  # fmt: skip
def test_scores_are_two_or_more_behind_the_batch(
    shape: tuple[int | None, ...], scores: bool
) -> None:
    assert is_scores(shape) is scores


@pytest.mark.parametrize(
    ("row", "embedding"), [((0.6, -0.8), True), ((0.6, 0.8), False), ((1.6, -0.8), False)]
)
def test_embeddings_have_length_one_and_both_signs(row: tuple[float, ...], embedding: bool) -> None:
    assert is_embedding(np.array([row], np.float32)) is embedding


def test_no_rows_are_no_embedding() -> None:
    assert not is_embedding(np.zeros((0, 3, 1), np.float32))
