"""The words of the report."""

from __future__ import annotations

from onnxq.plan.note import Note, NoteKind
from onnxq.report.page.refusals import Refusal, refusals
from onnxq.report.page.story import cards, lead, steps
from onnxq.report.result import Fidelity, FloatNode, Latency, TraceRow
from tests.report.samples import sample_result


def test_the_lead_tells_size_speed_share_fidelity_and_what_stayed_float() -> None:
    assert lead(sample_result()) == [
        (
            "The quantized model is 3.2 times smaller and 1.76 times as fast on one thread of this"
            " machine."
        ),
        (
            "97.3 % of its multiply-accumulates run in integer kernels, in 1 of 2 layers with"
            " weights; this is what onnxruntime really ran."
        ),
        (
            "On 64 held-out samples, output 'logits' keeps 31.2 dB of signal to quantization noise,"
            " and the best class is the same in 98.4 %, and boxes agree with an F1 of 80.0 %."
        ),
        (
            "4 nodes stayed float, 1 of them with weights, mostly for this reason: its range"
            " collapses."
        ),
    ]


def test_a_difference_within_noise_is_none() -> None:
    told = " ".join(lead(sample_result(latency=Latency(5.0, 4.9, 1.02, 0.97, 1.05))))

    assert "1.02 times as fast on one thread of this machine, which is no difference" in told


def test_without_data_nothing_is_claimed() -> None:
    bare = sample_result(fidelity=Fidelity(), latency=None, heavy=(), stayed_float=())

    assert lead(bare)[1:] == [
        "How close its outputs are to the float model's was not measured: there was no data."
    ]


def test_the_cards_say_good_and_bad() -> None:
    found = cards(sample_result(latency=Latency(3.0, 6.0, 0.5, 0.4, 0.6)))

    assert [(card.label, card.value, card.tone) for card in found] == [
        ("Size", "0.31×", "good"),
        ("Speed", "0.50×", "bad"),
        ("Agreement with float", "98.4 %", "plain"),
        ("In integer kernels", "97.3 %", "plain"),
    ]


def test_runs_of_a_pass_are_one_step_and_alike_notes_one_line() -> None:
    row = TraceRow("fold", "rewrite", 0.25, modified=True, fired=2, summary="Folds ``it``.")
    idle = TraceRow("idle", "rewrite", 0.25, modified=False)
    notes = [Note(NoteKind.FIRED, "fold", f"n{i}", "folded") for i in range(6)]

    (step,) = steps(sample_result(trace=(row, idle, row), notes=tuple(notes)))

    assert (step.fired, step.seconds, step.summary) == (4, 0.5, "Folds it.")
    assert step.texts == [("folded", "n0, n1, n2, n3 and 2 more")]


def test_a_refusal_and_a_float_node_are_told_once() -> None:
    note = Note(NoteKind.REFUSED, "assign", "n", "too small")
    nodes = (FloatNode("n", "Mul", 0, "too small"), FloatNode("m", "Mul", 0, "output tail"))

    assert refusals(sample_result(notes=(note,), stayed_float=nodes)) == [
        Refusal("assign", "n", "too small"),
        Refusal("stayed float", "m", "output tail"),
    ]
