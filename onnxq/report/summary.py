"""A result in words: the few facts and lists that every form of the report shows alike."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from onnxq.calibration_method import AUTO
from onnxq.conformance.finding import Severity
from onnxq.project_file import COMMAND_LINE, DEFAULT
from onnxq.report.bits import narrow_text
from onnxq.report.result import ENOUGH_SAMPLES
from onnxq.report.units import bytes_text, percent_text
from onnxq.report.weight_bits import weights_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from onnxq.conformance.finding import Finding
    from onnxq.plan.note import Note
    from onnxq.report.made_for import MadeFor
    from onnxq.report.result import Fidelity, FloatNode, Latency, Result
    from onnxq.tasks.base import Agreement, BoxFidelity

__all__ = ["Fact", "FloatGroup", "db_text", "facts", "fidelity_facts", "float_groups"]

_OUTPUTS_SHOWN = 4
_OPS_SHOWN = 4
# Pass and place of the notes that tell what was spent of each budget.
_BUDGETS = ("allocate-bits", "graph")


class Fact(NamedTuple):
    """One line of the summary.

    Attributes:
        label: What it is about.
        value: The number, with its unit.
        detail: What to know about the number.
        tone: "good", "bad", "doubt" or "plain".
    """

    label: str
    value: str
    detail: str = ""
    tone: str = "plain"


class FloatGroup(NamedTuple):
    """Nodes that stayed float for one reason.

    Attributes:
        what: The node's name, or the operators of several nodes with their numbers.
        macs: Multiply-accumulates of one sample.
        reason: Why.
    """

    what: str
    macs: int
    reason: str


def facts(result: Result) -> list[Fact]:
    """Returns all facts, from the data to the bits, in the order in which reports show them."""
    return [
        *_options(result.origins),
        *_data(result.data),
        *_input(result),
        *_target(result.made_for),
        *_provider(result.made_for),
        *_lint(result.findings),
        _size(result),
        _latency(result.latency),
        *fidelity_facts(result.fidelity),
        _integer(result),
        *_calibration(result.notes),
        *_bits(result),
    ]


def fidelity_facts(fidelity: Fidelity) -> list[Fact]:
    """Returns task and fidelity, a line or more each."""
    return [
        *_task(fidelity),
        *_fidelity(fidelity),
        *_agreement(fidelity),
        *_boxes(fidelity.boxes),
        *_few(fidelity),
    ]


def float_groups(nodes: Iterable[FloatNode]) -> list[FloatGroup]:
    """Sums up what stayed float: heavy layers by name, then the others by reason.

    Args:
        nodes: In the order of the graph, which each part of the answer keeps.
    """
    heavy = [FloatGroup(node.node, node.macs, node.reason) for node in nodes if node.macs]
    by_reason: dict[str, Counter[str]] = {}
    for node in nodes:
        if not node.macs:
            by_reason.setdefault(node.reason, Counter())[node.op] += 1
    return heavy + [FloatGroup(_operators(ops), 0, why) for why, ops in by_reason.items()]


def db_text(ratio: float) -> str:
    """Returns a ratio in dB as ``31.2 dB``; what is no finite number is said in words."""
    if math.isnan(ratio):
        return "not a number"
    if math.isinf(ratio):
        return "identical" if ratio > 0 else "no signal"
    return f"{ratio:.1f} dB"


def _options(origins: Mapping[str, str]) -> Iterator[Fact]:
    """Says so where a file gave options, which nobody sees on the command line."""
    files = dict.fromkeys(one for one in origins.values() if one not in (COMMAND_LINE, DEFAULT))
    for file in files:
        names = [name.replace("_", "-") for name, origin in origins.items() if origin == file]
        yield Fact("options", file, ", ".join(names))


def _data(told: str) -> Iterator[Fact]:
    if told:
        count, _, source = told.partition("; ")
        yield Fact("data", count, source)


def _input(result: Result) -> Iterator[Fact]:
    """Says so where the written model takes something else than the float one."""
    if result.options.get("embed_preprocess"):
        yield Fact(
            "input",
            "image files",
            "the model takes the bytes of a PNG or JPEG file; latency and fidelity are of what "
            "comes after preprocessing",
        )


def _target(made_for: MadeFor | None) -> Iterator[Fact]:
    if made_for is None:
        return
    machine = f"; this machine is {made_for.machine}" if made_for.machine else ""
    yield Fact("target", made_for.target, f"{made_for.summary}{machine}")
    if made_for.stands == "documents":
        yield Fact("", "", "its rules stand on documents; they were not run here", "doubt")


def _provider(made_for: MadeFor | None) -> Iterator[Fact]:
    """Says what measured where that is not the CPU."""
    if made_for is not None and made_for.provider != "CPUExecutionProvider":
        yield Fact("provider", made_for.provider, "calibrated and measured on it; float on the CPU")


def _lint(findings: Sequence[Finding]) -> Iterator[Fact]:
    """Says what breaks the target's rules; what only costs time is no fault."""
    faults = [found for found in findings if found.severity is not Severity.NOTE]
    if faults:
        first = faults[0]
        count = "1 rule broken" if len(faults) == 1 else f"{len(faults)} rules broken"
        yield Fact("lint", count, f"first {first.node}: {first.text} [{first.rule}]", "bad")


def _size(result: Result) -> Fact:
    before, after = result.size_before, result.size_after
    value = f"{bytes_text(before)} → {bytes_text(after)}"
    if not before or not after:
        return Fact("size", value)
    if after > before:
        return Fact("size", value, f"{after / before:.2f}× as large", "bad")
    return Fact("size", value, f"{before / after:.2f}× smaller", "good")


def _latency(latency: Latency | None) -> Fact:
    if latency is None:
        return Fact("latency", "not measured")
    value = f"{latency.float_ms:.3g} ms → {latency.int_ms:.3g} ms"
    detail = f"speedup {latency.speedup:.2f} (95 %: {latency.low:.2f}–{latency.high:.2f})"
    if not latency.slower:
        return Fact("latency", value, detail, "good")
    doubt = ", within what the measurement can tell" if latency.high >= 1 else ""
    return Fact("latency", value, f"slower than float{doubt}: {detail}", "bad")


def _task(fidelity: Fidelity) -> Iterator[Fact]:
    if fidelity.task:
        _, _, what = fidelity.recognized.partition(": ")
        yield Fact("task", fidelity.task, what)


def _fidelity(fidelity: Fidelity) -> Iterator[Fact]:
    worst = fidelity.worst
    if worst is None:
        yield Fact("fidelity", "not measured", "it needs --data with at least two samples")
        return
    on = f"on {fidelity.samples} held-out {'sample' if fidelity.samples == 1 else 'samples'}"
    if len(fidelity.sqnr) > _OUTPUTS_SHOWN:
        detail = f"{worst[0]}, the worst of {len(fidelity.sqnr)} outputs; {on}"
        yield Fact("fidelity", db_text(worst[1]), detail)
        return
    for name, ratio in fidelity.sqnr.items():
        yield Fact("fidelity", db_text(ratio), f"{name}; signal to quantization noise, {on}")


def _agreement(fidelity: Fidelity) -> Iterator[Fact]:
    agreement = fidelity.agreement
    if agreement is not None:
        yield Fact("agreement", percent_text(agreement.value), _agreement_detail(agreement))


def _few(fidelity: Fidelity) -> Iterator[Fact]:
    if fidelity.sqnr and fidelity.few:
        yield Fact(
            "",
            "",
            f"fewer than {ENOUGH_SAMPLES} held-out samples: fidelity is uncertain; give more data "
            "and raise --samples",
            "doubt",
        )


def _agreement_detail(agreement: Agreement) -> str:
    low, high = (percent_text(end) for end in (agreement.low, agreement.high))
    return f"same top-1 as float; n = {agreement.n}, 95 % interval {low} to {high}"


def _boxes(boxes: BoxFidelity | None) -> Iterator[Fact]:
    if boxes is None:
        return
    if boxes.f1 is None:
        yield Fact("boxes", "not measured", "neither model finds a box with a score of 0.3 or more")
        return
    ways = (("precision", boxes.precision), ("recall", boxes.recall))
    shares = ", ".join(f"{name} {percent_text(v)}" for name, v in ways if v is not None)
    same = "same place and class" if boxes.by_place else "same class, IoU 0.5 or more"
    counts = f"{boxes.wanted} boxes of float, {boxes.found} found"
    yield Fact("boxes", f"F1 {percent_text(boxes.f1)}", f"{shares}; {counts} ({same})")
    detail = []
    if boxes.mean_iou is not None:
        detail.append(f"mean IoU of matched boxes {boxes.mean_iou:.3f}")
    if boxes.mean_ap is not None:
        detail.append(f"mAP {percent_text(boxes.mean_ap)} with float as truth")
    if boxes.drift is not None:
        detail.append(f"raw box numbers of the matched are {percent_text(boxes.drift)} off")
    if detail:
        yield Fact("", "", ", ".join(detail))


def _integer(result: Result) -> Fact:
    made_for = result.made_for
    if made_for is not None and not made_for.counted:
        away = f"{made_for.target} was not run; {made_for.provider} was"
        where = away if made_for.away else f"{made_for.provider} does not tell its kernels"
        return Fact("integer", "not measured", where, "doubt")
    value = percent_text(result.integer_share)
    layers = sum(layer.integer for layer in result.heavy)
    detail = "of multiply-accumulates run in integer kernels"
    if result.heavy:
        detail += f"; {layers} of {len(result.heavy)} heavy layers"
    return Fact("integer", value, detail)


def _bits(result: Result) -> Iterator[Fact]:
    """What was narrowed, where anything was."""
    if half := len(result.plan.half):
        yield Fact("half", f"{half} nodes", "compute in half precision, float16")
    if found := narrow_text(result.plan):
        yield Fact("activations", *found)
    if found := weights_text(result.weights):
        yield Fact("weights", *found)
    for note in result.notes:
        if (note.source, note.where) == _BUDGETS:
            yield Fact("budget", *note.text.split(": ", 1))


def _calibration(notes: Iterable[Note]) -> Iterator[Fact]:
    """Says which method was taken where several were tried, and why."""
    found = [note for note in notes if note.source == AUTO]
    if found:
        *tried, last = found
        why = last.text.removeprefix("taken: ")
        yield Fact("calibration", last.where, f"{why}; tried: {', '.join(n.where for n in tried)}")


def _operators(ops: Counter[str]) -> str:
    """Spells ``Add ×3, Mul``: most frequent first, the rest as a number of nodes."""
    shown = ops.most_common(_OPS_SHOWN)
    words = [op if count == 1 else f"{op} ×{count}" for op, count in shown]
    rest = ops.total() - sum(count for _, count in shown)
    return ", ".join([*words, f"{rest} more"] if rest else words)
