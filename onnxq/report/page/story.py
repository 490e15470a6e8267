"""What was done and why, in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxq.plan.note import NoteKind
from onnxq.report.summary import Fact, db_text
from onnxq.report.units import bytes_text, percent_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnxq.plan.note import Note
    from onnxq.report.result import Result

__all__ = ["Step", "cards", "lead", "steps"]

_PLACES = 4
_REASONS = 3
_TEXTS = 40


@dataclass
class Step:
    """What one pass did, in all of its runs.

    Attributes:
        name: The pass.
        kind: "rewrite", "plan" or "lowering".
        summary: What it does, in one line.
        seconds: Wall time of all runs.
        fired: Places where it did something.
        refused: Places where it would not.
        texts: (what, where) of its notes, those with the same words together.
        rolled_back: Why a run was undone.
    """

    name: str
    kind: str
    summary: str
    seconds: float = 0.0
    fired: int = 0
    refused: int = 0
    texts: list[tuple[str, str]] = field(default_factory=list)
    rolled_back: str = ""


def cards(result: Result) -> list[Fact]:
    """Returns the four numbers that tell most, one for each question."""
    before, after, latency = result.size_before, result.size_after, result.latency
    found = []
    if before and after:
        sizes = f"{bytes_text(before)} → {bytes_text(after)}"
        found.append(Fact("Size", f"{after / before:.2f}×", sizes, _tone(before / after)))
    if latency is not None:
        times = f"{latency.float_ms:.3g} → {latency.int_ms:.3g} ms, one thread"
        found.append(Fact("Speed", f"{latency.speedup:.2f}×", times, _tone(latency.speedup)))
    fidelity = result.fidelity
    if fidelity.agreement is not None:
        value = percent_text(fidelity.agreement.value)
        found.append(Fact("Agreement with float", value, "same best class"))
    elif fidelity.boxes is not None and fidelity.boxes.f1 is not None:
        found.append(Fact("Agreement with float", percent_text(fidelity.boxes.f1), "F1 of boxes"))
    elif fidelity.worst is not None:
        found.append(Fact("Fidelity", db_text(fidelity.worst[1]), "SQNR of the worst output"))
    if result.heavy:
        share = percent_text(result.integer_share)
        found.append(Fact("In integer kernels", share, "of multiply-accumulates"))
    return found


def _tone(ratio: float) -> str:
    return "good" if ratio >= 1 else "bad"


def lead(result: Result) -> list[str]:
    """Returns the outcome in a few sentences."""
    return [*_outcome(result), *_close(result), *_left_float(result)]


def steps(result: Result) -> list[Step]:
    """Returns the passes that did, refused or undid something, in the order of their first run."""
    found: dict[tuple[str, str], Step] = {}
    for row in result.trace:
        key = (row.name, row.kind)
        step = found.setdefault(key, Step(row.name, row.kind, row.summary.replace("``", "")))
        step.seconds += row.seconds
        step.fired += row.fired
        step.refused += row.refused
        step.rolled_back = row.rolled_back or step.rolled_back
        if row.modified and row.kind != "rewrite":
            step.fired = max(step.fired, 1)
    for step in found.values():
        own = [note for note in result.notes if note.source == step.name]
        step.texts = _told(note for note in own if note.kind is not NoteKind.REFUSED)
    return [s for s in found.values() if s.fired or s.refused or s.rolled_back]


def _outcome(result: Result) -> Iterator[str]:
    before, after = result.size_before, result.size_after
    words = []
    if before and after:
        factor = before / after
        words.append(
            f"{factor:.1f} times smaller" if factor >= 1 else f"{1 / factor:.1f} times larger"
        )
    if result.latency is not None:
        ratio = result.latency.speedup
        sure = result.latency.low > 1 or result.latency.high < 1
        words.append(
            f"{ratio:.2f} times as fast on one thread of this machine"
            + ("" if sure else ", which is no difference beyond noise")
        )
    if words:
        yield f"The quantized model is {' and '.join(words)}."
    if result.heavy:
        share = percent_text(result.integer_share)
        integer = sum(layer.integer for layer in result.heavy)
        yield (
            f"{share} of its multiply-accumulates run in integer kernels, in {integer} of"
            f" {len(result.heavy)} layers with weights; this is what onnxruntime really ran."
        )


def _close(result: Result) -> Iterator[str]:
    fidelity = result.fidelity
    if fidelity.worst is None:
        yield "How close its outputs are to the float model's was not measured: there was no data."
        return
    name, ratio = fidelity.worst
    samples = f"{fidelity.samples} held-out sample{'' if fidelity.samples == 1 else 's'}"
    words = [f"output '{name}' keeps {db_text(ratio)} of signal to quantization noise"]
    if fidelity.agreement is not None:
        words.append(f"the best class is the same in {percent_text(fidelity.agreement.value)}")
    if fidelity.boxes is not None and fidelity.boxes.f1 is not None:
        words.append(f"boxes agree with an F1 of {percent_text(fidelity.boxes.f1)}")
    yield f"On {samples}, {', and '.join(words)}."


def _left_float(result: Result) -> Iterator[str]:
    if not result.stayed_float:
        return
    heavy = [node for node in result.stayed_float if node.macs]
    count = len(result.stayed_float)
    kinds = Counter(node.reason for node in heavy or result.stayed_float)
    told = "; ".join(reason for reason, _ in kinds.most_common(_REASONS))
    weights = f", {len(heavy)} of them with weights" if heavy else ""
    yield (
        f"{count} node{'' if count == 1 else 's'} stayed float{weights}, mostly for this reason:"
        f" {told}."
    )


def _told(notes: Iterable[Note]) -> list[tuple[str, str]]:
    """Sums notes up by their words, and names the first places of each."""
    places: dict[str, list[str]] = {}
    for note in notes:
        places.setdefault(note.text, []).append(note.where)
    shown = [(text, _places(found)) for text, found in list(places.items())[:_TEXTS]]
    rest = len(places) - len(shown)
    return [*shown, (f"{rest} more", "")] if rest else shown


def _places(found: list[str]) -> str:
    rest = len(found) - _PLACES
    return ", ".join(found[:_PLACES]) + (f" and {rest} more" if rest > 0 else "")
