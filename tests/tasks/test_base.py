"""What every task measures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.tasks.base import Agreement, BoxFidelity, Comparison, generic


def test_a_comparison_sums_the_noise_of_every_float_output() -> None:
    comparison = Comparison()
    for sample in ([1.0, 2.0], [3.0, 4.0]):
        wanted = np.array(sample, np.float32)
        comparison.add({"a": wanted, "b": wanted}, {"a": wanted * 1.1, "b": wanted})

    assert comparison.fidelity().sqnr["a"] == pytest.approx(20, abs=1e-4)
    assert comparison.fidelity().sqnr["b"] == math.inf


def test_outputs_that_cannot_be_subtracted_are_left_out() -> None:
    whole, short = np.ones(3, np.float32), np.ones(2, np.float32)
    comparison = Comparison()
    comparison.add({"a": whole, "n": np.arange(3)}, {"a": short, "n": np.arange(3)})

    assert comparison.fidelity().sqnr == {}


def test_generic_says_why_and_measures_noise_alone() -> None:
    task = generic("no boxes")
    fidelity = task.comparison().fidelity()

    assert (task.name, task.description) == ("generic", "generic: no boxes")
    assert (fidelity.agreement, fidelity.boxes) == (None, None)


def test_agreement_carries_its_interval() -> None:
    agreement = Agreement.of(9, 10)

    assert (agreement.value, agreement.n) == (0.9, 10)
    assert (agreement.low, agreement.high) == pytest.approx((0.595850, 0.982124), abs=1e-6)


def test_shares_of_boxes_are_those_of_their_counts() -> None:
    boxes = BoxFidelity(wanted=20, found=25, matched=18)

    assert (boxes.precision, boxes.recall, boxes.f1) == (0.72, 0.9, 0.8)


def test_shares_of_nothing_are_not_measured() -> None:
    assert BoxFidelity(wanted=0, found=2, matched=0).recall is None
    assert BoxFidelity(wanted=2, found=0, matched=0).precision is None
    assert BoxFidelity(wanted=0, found=0, matched=0).f1 is None


@given(st.integers(1, 50), st.integers(1, 50), st.data())
def test_f1_lies_between_precision_and_recall(wanted: int, found: int, data: st.DataObject) -> None:
    boxes = BoxFidelity(wanted, found, data.draw(st.integers(0, min(wanted, found))))
    assert boxes.precision is not None
    assert boxes.recall is not None
    assert boxes.f1 is not None
    low, high = sorted((boxes.precision, boxes.recall))
    assert low - 1e-12 <= boxes.f1 <= high + 1e-12
