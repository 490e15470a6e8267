"""What a result says of itself, and how it is held to requirements."""

from __future__ import annotations

import math

import pytest

from onnxq.config import METRICS, Requirement
from onnxq.errors import RequirementError
from onnxq.manager import TraceEntry
from onnxq.plan.note import Note, NoteKind
from onnxq.report.requirements import require
from onnxq.report.result import Fidelity, Latency, TraceRow
from onnxq.tasks.base import Agreement
from tests.report.samples import sample_result


def test_worst_output_is_the_one_with_the_least_ratio() -> None:
    assert Fidelity({"a": 30.0, "b": 12.5, "c": math.inf}).worst == ("b", 12.5)


@pytest.mark.parametrize("names", ["abc", "bca", "cab"])
def test_an_output_that_is_not_a_number_is_the_worst(names: str) -> None:
    ratios = {"a": 30.0, "b": math.nan, "c": -math.inf}
    worst = Fidelity({name: ratios[name] for name in names}).worst

    assert worst is not None
    assert worst[0] == "b"


def test_nothing_measured_has_no_worst_output() -> None:
    assert Fidelity().worst is None


@pytest.mark.parametrize(("samples", "few"), [(99, True), (100, False)])
def test_fewer_than_a_hundred_samples_are_few(samples: int, few: bool) -> None:
    assert Fidelity(samples=samples).few is few


def test_agreement_carries_its_interval() -> None:
    agreement = Agreement.of(9, 10)

    assert (agreement.value, agreement.n) == (0.9, 10)
    assert (agreement.low, agreement.high) == pytest.approx((0.595850, 0.982124), abs=1e-6)


@pytest.mark.parametrize(("speedup", "slower"), [(0.99, True), (1.0, False), (1.5, False)])
def test_slower_is_a_speedup_below_one(speedup: float, slower: bool) -> None:
    assert Latency(1.0, 1.0, speedup, 0.9, 1.6).slower is slower


def test_trace_row_counts_the_notes() -> None:
    kinds = (NoteKind.FIRED, NoteKind.REFUSED, NoteKind.FIRED, NoteKind.INFO)
    notes = tuple(Note(kind, "p", "x", "y") for kind in kinds)

    row = TraceRow.of(TraceEntry("p", "rewrite", 0.5, modified=True, notes=notes))

    assert row == TraceRow("p", "rewrite", 0.5, modified=True, fired=2, refused=1)


@pytest.mark.parametrize(
    ("metric", "value"),
    [("sqnr", 31.24), ("agreement", 63 / 64), ("f1", 0.8), ("speedup", 1.758), ("integer", 0.9731)],
)
def test_metrics_are_what_the_fields_hold(metric: str, value: float) -> None:
    assert sample_result().metric(metric) == value


def test_every_metric_that_can_be_required_is_known() -> None:
    bare = sample_result(fidelity=Fidelity(), latency=None)

    assert {name: bare.metric(name) for name in METRICS} == {
        "sqnr": None,
        "agreement": None,
        "f1": None,
        "speedup": None,
        "integer": 0.9731,
    }


def test_met_requirements_pass() -> None:
    require(sample_result(), [Requirement("sqnr", 31.0), Requirement("integer", 0.97)])


def test_all_missed_requirements_are_named() -> None:
    wanted = [Requirement("sqnr", 40), Requirement("integer", 0.5), Requirement("speedup", 2)]

    with pytest.raises(RequirementError) as caught:
        require(sample_result(), wanted)

    message = str(caught.value)
    assert "sqnr>=40 (it is 31.24), speedup>=2 (it is 1.758)" in message
    assert "integer" not in message
    assert "\n" not in message


def test_what_was_not_measured_is_missed() -> None:
    with pytest.raises(RequirementError, match=r"agreement>=0\.9 \(it is not measured\)") as caught:
        require(sample_result(fidelity=Fidelity()), [Requirement("agreement", 0.9)])
    assert "lower the bound" not in str(caught.value)
    assert "--task" in str(caught.value)
