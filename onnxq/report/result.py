"""What :func:`onnxq.optimize` returns: the model, and all that was measured on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from onnxq.plan.note import NoteKind
from onnxq.tasks.base import TaskFidelity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx_ir as ir

    from onnxq.conformance.finding import Finding
    from onnxq.manager import TraceEntry
    from onnxq.plan.note import Note
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.report.evidence import Evidence
    from onnxq.report.front import FrontPoint
    from onnxq.report.made_for import MadeFor
    from onnxq.report.weight_bits import LayerWeight
    from onnxq.tasks.base import Task

__all__ = [
    "ENOUGH_SAMPLES",
    "Fidelity",
    "FloatNode",
    "HeavyLayer",
    "Latency",
    "Result",
    "TraceRow",
]

ENOUGH_SAMPLES = 100
"""Held-out samples from which on an agreement is worth comparing to a bound."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one run, float and quantized measured in turn.

    Attributes:
        float_ms: Median of the float model, in milliseconds.
        int_ms: Median of the quantized model, in milliseconds.
        speedup: Median of the ratios float / quantized; above 1 = faster.
        low: Lower end of the speedup's 95 % interval.
        high: Upper end.
    """

    float_ms: float
    int_ms: float
    speedup: float
    low: float
    high: float

    @property
    def slower(self) -> bool:
        """Whether the quantized model takes longer than the float one."""
        return self.speedup < 1


@dataclass(frozen=True)
class Fidelity(TaskFidelity):
    """How close the quantized model's outputs are to the float model's.

    Attributes:
        task: The task that they were judged by: "classification", "detection" or "generic"; empty
            = nothing was looked at.
        recognized: What was recognized of it, in one line.
        samples: Held-out samples that it was measured on; 0 = not measured.
    """

    task: str = ""
    recognized: str = ""
    samples: int = 0

    @classmethod
    def of(cls, measured: TaskFidelity, task: Task, samples: int) -> Self:
        """Adds to what a task measured what it was measured by and on."""
        return cls(
            measured.sqnr,
            measured.agreement,
            measured.boxes,
            task=task.name,
            recognized=task.description,
            samples=samples,
        )

    @property
    def worst(self) -> tuple[str, float] | None:
        """Name and dB of the output with the least ratio; None if nothing was measured.

        No ratio is worse than one that is not a number.
        """
        return min(
            self.sqnr.items(),
            key=lambda item: (not math.isnan(item[1]), item[1]),
            default=None,
        )

    def metric(self, name: str) -> float | None:
        """Returns what ``--require`` calls "sqnr", "agreement" or "f1"; None = not measured."""
        measured = {
            "sqnr": None if self.worst is None else self.worst[1],
            "agreement": None if self.agreement is None else self.agreement.value,
            "f1": None if self.boxes is None else self.boxes.f1,
        }
        return measured[name]

    @property
    def few(self) -> bool:
        """Whether there were fewer samples than a fair judgement needs."""
        return self.samples < ENOUGH_SAMPLES


@dataclass(frozen=True, slots=True)
class FloatNode:
    """A node that stayed float.

    Attributes:
        node: Its name.
        op: Its operator.
        macs: Multiply-accumulates of one sample; 0 for all but heavy nodes.
        reason: Why it stayed float.
    """

    node: str
    op: str
    macs: int
    reason: str


@dataclass(frozen=True, slots=True)
class HeavyLayer:
    """A Conv, ConvTranspose, Gemm or MatMul.

    Attributes:
        node: Its name.
        op: Its operator.
        macs: Multiply-accumulates of one sample.
        integer: Whether onnxruntime really runs it in an integer kernel.
    """

    node: str
    op: str
    macs: int
    integer: bool


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One run of one pass, in numbers.

    Attributes:
        name: The pass.
        kind: "rewrite", "plan" or "lowering".
        seconds: Its wall time.
        modified: Whether it changed something that stands.
        fired: Places where it did something.
        refused: Places where it would not.
        rolled_back: Why its work was undone; None if it stands.
        summary: What the pass does, in one line.
    """

    name: str
    kind: str
    seconds: float
    modified: bool
    fired: int = 0
    refused: int = 0
    rolled_back: str | None = None
    summary: str = ""

    @classmethod
    def of(cls, entry: TraceEntry) -> Self:
        """Counts the notes of the manager's record."""
        kinds = [note.kind for note in entry.notes]
        return cls(
            name=entry.name,
            kind=entry.kind,
            seconds=entry.seconds,
            modified=entry.modified,
            fired=kinds.count(NoteKind.FIRED),
            refused=kinds.count(NoteKind.REFUSED),
            rolled_back=entry.rolled_back,
            summary=entry.summary,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """The quantized model, and the proof of it.

    Attributes:
        model: The model as it was written.
        path: Where it was written; None = nowhere.
        source: Name of the float model, for people.
        data: What it was calibrated and judged on, for people; "" = no data.
        size_before: Bytes of the float model, external data included.
        size_after: Bytes of the quantized model, external data included.
        latency: Times of both; None = not measured.
        fidelity: How close the outputs are.
        integer_share: Share of heavy layers' multiply-accumulates that onnxruntime runs in integer
            kernels, in [0, 1].
        stayed_float: Nodes that stayed float, with reasons.
        heavy: All heavy layers, in the order in which they run.
        weights: Their constant weights, in the order of the graph.
        front: What bits could be had for which size, where ``--pareto`` asks for it.
        notes: What passes did and refused, in order.
        trace: The passes that ran, in order.
        made_for: The target, and where it was measured; None = not told.
        findings: Rules of the target that the model breaks, as ``onnxq lint`` lists them.
        plan: The quantization plan that was lowered.
        warnings: What the user should know, one line each.
        options: Option name → value, in plain types.
        versions: Package name → version.
        seed: Of all that was drawn.
        command: What to type to get it again; empty if Python objects were given.
        origins: Option → "command line", "default" or the file that it came from; empty where
            Python gave them.
        evidence: What the report for a browser shows beyond all this; None = it was not asked for.
    """

    model: ir.Model
    plan: QuantPlan
    path: Path | None = None
    source: str = "model"
    data: str = ""
    size_before: int = 0
    size_after: int = 0
    latency: Latency | None = None
    fidelity: Fidelity = field(default_factory=Fidelity)
    integer_share: float = 0.0
    stayed_float: tuple[FloatNode, ...] = ()
    heavy: tuple[HeavyLayer, ...] = ()
    weights: tuple[LayerWeight, ...] = ()
    front: tuple[FrontPoint, ...] = ()
    notes: tuple[Note, ...] = ()
    trace: tuple[TraceRow, ...] = ()
    made_for: MadeFor | None = None
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    command: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)
    evidence: Evidence | None = None

    def metric(self, name: str) -> float | None:
        """Returns what ``--require`` calls ``name``; None if it was not measured.

        Args:
            name: One of ``onnxq.options.METRICS``.
        """
        measured = {
            "speedup": self.latency.speedup if self.latency is not None else None,
            "integer": None if self.made_for and not self.made_for.counted else self.integer_share,
        }
        return measured[name] if name in measured else self.fidelity.metric(name)
