"""A result in words."""

from __future__ import annotations

import math

import pytest

from onnxq.plan.note import Note, NoteKind
from onnxq.report.result import Fidelity, FloatNode, Latency
from onnxq.report.summary import (
    Fact,
    FloatGroup,
    db_text,
    facts,
    float_groups,
)
from onnxq.tasks.base import Agreement, BoxFidelity
from tests.report.samples import sample_result


def facts_on(label: str, **changes: object) -> list[Fact]:
    return [fact for fact in facts(sample_result(**changes)) if fact.label == label]


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (31.24, "31.2 dB"),
        (-0.5, "-0.5 dB"),
        (math.inf, "identical"),
        (-math.inf, "no signal"),
        (math.nan, "not a number"),
    ],
)
def test_ratios_are_in_decibels(ratio: float, text: str) -> None:
    assert db_text(ratio) == text


def test_what_auto_tried_is_told() -> None:
    tried = [Note(NoteKind.INFO, "auto", method, "10 dB") for method in ("mse", "kl")]
    notes = (*tried, Note(NoteKind.FIRED, "auto", "mse", "taken: kl gains 0.1 dB"))

    (fact,) = facts_on("calibration", notes=notes)

    assert (fact.value, fact.detail) == ("mse", "kl gains 0.1 dB; tried: mse, kl")
    assert not facts_on("calibration")


def test_the_data_are_told_where_there_are_any() -> None:
    assert facts_on("data", data="64 of 96 samples; images") == [
        Fact("data", "64 of 96 samples", "images")
    ]
    assert facts_on("data", data="") == []


def test_embedded_preprocessing_is_told() -> None:
    (fact,) = facts_on("input", options={"embed_preprocess": True})
    assert "PNG or JPEG" in fact.detail
    assert facts_on("input", options={"embed_preprocess": False}) == []


def test_size_says_how_much_smaller() -> None:
    assert facts_on("size") == [Fact("size", "2.71 MB → 840 kB", "3.23× smaller", "good")]


def test_what_was_spent_of_budgets_is_told() -> None:
    notes = (
        Note(NoteKind.INFO, "allocate-bits", "graph", "size=0.2x: 0.19x spent, binds"),
        Note(NoteKind.FIRED, "allocate-bits", "conv", "4 bits; cost"),
    )
    assert facts_on("budget", notes=notes) == [Fact("budget", "size=0.2x", "0.19x spent, binds")]
    assert facts_on("budget") == []


def test_a_larger_model_is_bad() -> None:
    assert facts_on("size", size_after=2 * 2_710_000)[0].tone == "bad"


def test_a_faster_model_is_good() -> None:
    fact = facts_on("latency")[0]

    assert fact.value == "5.31 ms → 3.02 ms"
    assert (fact.detail, fact.tone) == ("speedup 1.76 (95 %: 1.71–1.80)", "good")


def test_a_slower_model_is_bad_and_said_so() -> None:
    fact = facts_on("latency", latency=Latency(1.0, 1.2, 0.83, 0.80, 0.86))[0]

    assert fact.tone == "bad"
    assert fact.detail.startswith("slower than float: speedup 0.83")


def test_a_slowdown_in_doubt_says_so() -> None:
    fact = facts_on("latency", latency=Latency(1.0, 1.02, 0.98, 0.93, 1.03))[0]

    assert fact.tone == "bad"
    assert "within what the measurement can tell" in fact.detail


def test_latency_may_be_missing() -> None:
    assert facts_on("latency", latency=None) == [Fact("latency", "not measured")]


def test_every_output_has_its_fidelity() -> None:
    found = facts_on("fidelity")

    assert [(f.value, f.detail.partition(";")[0]) for f in found] == [
        ("31.2 dB", "logits"),
        ("40.0 dB", "boxes"),
    ]
    assert "64 held-out samples" in found[0].detail


def test_of_many_outputs_only_the_worst_is_shown() -> None:
    many = Fidelity({f"out{i}": 20.0 + i for i in range(9)}, samples=200)
    found = facts_on("fidelity", fidelity=many)

    assert len(found) == 1
    assert found[0].value == "20.0 dB"
    assert found[0].detail.startswith("out0, the worst of 9 outputs")


def test_agreement_is_shown_with_n_and_interval() -> None:
    fact = facts_on("agreement")[0]

    assert fact.value == "98.4 %"
    assert fact.detail == "same top-1 as float; n = 64, 95 % interval 91.7 % to 99.7 %"


@pytest.mark.parametrize(("samples", "said"), [(99, True), (100, False)])
def test_few_samples_are_said(samples: int, said: bool) -> None:
    fidelity = Fidelity({"y": 30.0}, Agreement.of(samples, samples), samples=samples)
    details = [fact.detail for fact in facts(sample_result(fidelity=fidelity))]

    assert any("fewer than 100 held-out samples" in detail for detail in details) is said


def test_fidelity_without_data_is_not_measured() -> None:
    assert facts_on("fidelity", fidelity=Fidelity())[0].value == "not measured"
    assert not facts_on("agreement", fidelity=Fidelity())


def test_integer_share_counts_layers() -> None:
    fact = facts_on("integer")[0]

    assert fact.value == "97.3 %"
    assert fact.detail.endswith("1 of 2 heavy layers")


def test_heavy_nodes_stand_alone_and_others_by_reason() -> None:
    assert float_groups(sample_result().stayed_float) == [
        FloatGroup("stem", 12_345_678, "its range collapses"),
        FloatGroup("Add ×2, Mul", 0, "output tail"),
    ]


def test_many_operators_end_in_a_number() -> None:
    nodes = [FloatNode(f"n{i}", f"Op{i}", 0, "why") for i in range(6)]

    assert float_groups(nodes)[0].what == "Op0, Op1, Op2, Op3, 2 more"


def test_the_task_is_shown_with_what_was_recognized() -> None:
    assert facts_on("task") == [Fact("task", "detection", "one output")]


def test_boxes_are_shown_with_what_they_were_matched_by() -> None:
    found = facts(sample_result())
    place = next(i for i, fact in enumerate(found) if fact.label == "boxes")

    assert found[place].value == "F1 80.0 %"
    assert found[place].detail == (
        "precision 72.0 %, recall 90.0 %; 20 boxes of float, 25 found (same class, IoU 0.5 or more)"
    )
    assert found[place + 1].detail == (
        "mean IoU of matched boxes 0.910, mAP 80.0 % with float as truth"
    )


def test_boxes_that_cannot_be_decoded_say_so() -> None:
    raw = BoxFidelity(wanted=4, found=4, matched=4, drift=0.02, by_place=True)
    details = [fact.detail for fact in facts(sample_result(fidelity=Fidelity(boxes=raw)))]

    assert any("(same place and class)" in detail for detail in details)
    assert "raw box numbers of the matched are 2.0 % off" in details


def test_no_boxes_are_not_measured() -> None:
    none = BoxFidelity(wanted=0, found=0, matched=0)

    assert facts_on("boxes", fidelity=Fidelity(boxes=none))[0].value == "not measured"
