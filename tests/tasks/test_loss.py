"""The loss of outputs that nothing is known about."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from onnxq.tasks.loss import GenericLoss
from tests.tasks.slopes import assert_gradient, mean_square, second_difference

RNG = np.random.default_rng(5)
WANTED: dict[str, npt.NDArray[Any]] = {
    "a": RNG.standard_normal((2, 3)).astype(np.float32),
    "b": 10 * RNG.standard_normal((4,)).astype(np.float32),
    "n": np.arange(3),
}
LOSS = GenericLoss(["a", "b", "n"])


def found() -> dict[str, npt.NDArray[Any]]:
    return {n: a + 0.1 if a.dtype.kind == "f" else a for n, a in WANTED.items()}


def test_equal_outputs_lose_nothing() -> None:
    assert LOSS.measure(WANTED, WANTED) == 0


def test_every_output_counts_by_its_own_energy() -> None:
    doubled = {**WANTED, "b": 2 * WANTED["b"]}

    assert LOSS.measure(WANTED, doubled) == pytest.approx(1 / 2)


def test_an_output_of_another_shape_counts_as_lost() -> None:
    assert LOSS.measure(WANTED, {**WANTED, "a": np.zeros((1, 3), np.float32)}) == 1 / 2


def test_an_output_without_a_signal_is_divided_by_its_size() -> None:
    loss = GenericLoss(["x"])

    assert loss.measure({"x": np.zeros(4)}, {"x": np.ones(4)}) == 1


def test_what_is_no_number_is_infinitely_bad() -> None:
    assert LOSS.measure(WANTED, {**WANTED, "a": np.full((2, 3), np.nan)}) == math.inf


def test_gradient_is_the_slope() -> None:
    assert_gradient(LOSS, WANTED, found())


def test_drawn_cotangents_have_the_curvature() -> None:
    toward = {"a": np.ones((2, 3)), "b": np.arange(4.0)}

    expected = second_difference(LOSS, WANTED, toward)

    assert mean_square(LOSS, WANTED, toward) == pytest.approx(expected, rel=0.2)
