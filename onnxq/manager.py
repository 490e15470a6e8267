"""Runs passes, times them, records what they did, and holds them to their contracts.

In checking mode every rewrite must prove that it kept the model's function
(:mod:`onnxq.contract`), that what it says about having changed the model is true, and that the
graph is still legal. One that fails is rolled back and reported; its work never reaches the output.
A rewrite that raises is rolled back in either mode.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from onnxq.contract import Reference, find_violation, structural_fault
from onnxq.errors import OnnxqError
from onnxq.graph.io import fingerprint
from onnxq.plan.note import NoteKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.passbase import LoweringPass, PlanContext, PlanPass, RewritePass, RunModel
    from onnxq.plan.note import Note
    from onnxq.plan.quant_plan import QuantPlan

__all__ = [
    "BrokenPassError",
    "PassManager",
    "Progress",
    "Trace",
    "TraceEntry",
    "silent",
    "teller",
]

logger = logging.getLogger(__name__)

_ROUNDS = 8


class BrokenPassError(Exception):
    """A plan pass or a lowering did what its kind may not: a bug, not the user's error."""


class Progress(Protocol):
    """Is told how far a stage has come."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Reports that ``done`` of ``total`` steps of ``stage`` are over."""


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One run of one pass.

    Attributes:
        name: The pass.
        kind: "rewrite", "plan" or "lowering".
        seconds: Wall time of the pass itself, checks left out.
        modified: Whether it changed the model, or the plan, and the change stands.
        notes: What it did and what it refused, and why.
        rolled_back: Why its work was undone; None if it stands.
    """

    name: str
    kind: str
    seconds: float
    modified: bool
    notes: tuple[Note, ...] = ()
    rolled_back: str | None = None


@dataclass
class Trace:
    """What all passes did, in order."""

    entries: list[TraceEntry] = field(default_factory=list)

    @property
    def notes(self) -> tuple[Note, ...]:
        """The notes of all passes whose work stands."""
        return tuple(n for entry in self.entries if not entry.rolled_back for n in entry.notes)

    @property
    def rolled_back(self) -> tuple[TraceEntry, ...]:
        """The runs that were undone."""
        return tuple(entry for entry in self.entries if entry.rolled_back)


class PassManager:
    """Runs the three kinds of pass.

    Args:
        check: Whether to prove the contracts.
        run_model: Runs a model, with all optimizations off, on feeds; needed to check rewrites.
        probes: Feeds on which a rewrite must keep the outputs. Without any, only the form of the
            graph is checked.
        progress: Is told before each pass and after the last.

    Attributes:
        trace: What has been done so far.
    """

    def __init__(
        self,
        *,
        check: bool = False,
        run_model: RunModel | None = None,
        probes: Sequence[Mapping[str, npt.NDArray[Any]]] = (),
        progress: Progress | None = None,
    ) -> None:
        if check and probes and run_model is None:
            raise ValueError("probes need run_model")
        self.trace = Trace()
        self._check = check
        self._run_model = run_model
        self._probes = tuple(probes)
        self._progress = progress or silent

    def rewrite(
        self, model: ir.Model, passes: Sequence[RewritePass], *, to_fixpoint: bool = False
    ) -> ir.Model:
        """Runs rewrites one after the other.

        Args:
            model: Edited in place as long as nothing has to be rolled back.
            passes: The rewrites. One that was rolled back is not tried again.
            to_fixpoint: Whether to repeat the list until a round changes nothing, at most eight
                times. Refusals are kept from the last round alone.

        Returns:
            The current model, which is another object than ``model`` after a roll-back.

        Raises:
            OnnxqError: A rewrite met something that the user has to mend.
        """
        state = _Rewriting(model, check=self._check, run_model=self._run_model, probes=self._probes)
        active, first = list(passes), len(self.trace.entries)
        for _ in range(_ROUNDS if to_fixpoint else 1):
            entries: list[TraceEntry] = []
            for number, rewrite in enumerate(active):
                self._progress("rewrite", number, len(active))
                entries.append(state.run(rewrite))
            self._progress("rewrite", len(active), len(active))
            self._forget_refusals(first)
            self.trace.entries += entries
            active = [p for p, e in zip(active, entries, strict=True) if not e.rolled_back]
            if not any(entry.modified for entry in entries):
                break
        return state.model

    def revise(
        self, context: PlanContext, passes: Sequence[PlanPass], plan: QuantPlan
    ) -> QuantPlan:
        """Runs plan passes one after the other and returns the last plan.

        Raises:
            BrokenPassError: In checking mode, a pass has edited the float model.
        """
        for number, revision in enumerate(passes):
            self._progress("plan", number, len(passes))
            before = fingerprint(context.model) if self._check else None
            start = time.perf_counter()
            revised = revision.revise(context, plan)
            seconds = time.perf_counter() - start
            if before is not None and fingerprint(context.model) != before:
                raise BrokenPassError(f"plan pass {revision.name} edited the float model")
            notes = revised.notes[len(plan.notes) :]
            entry = TraceEntry(revision.name, "plan", seconds, revised is not plan, notes)
            self.trace.entries.append(entry)
            plan = revised
        self._progress("plan", len(passes), len(passes))
        return plan

    def lower(self, model: ir.Model, lowering: LoweringPass) -> ir.Model:
        """Runs a lowering and returns the new model.

        Raises:
            BrokenPassError: In checking mode, it has edited ``model``, or made a graph that is not
                legal or has other inputs or outputs.
        """
        self._progress("lower", 0, 1)
        before = fingerprint(model) if self._check else None
        start = time.perf_counter()
        lowered = lowering(model).model
        seconds = time.perf_counter() - start
        if before is not None:
            fault = structural_fault(model, lowered)
            if fingerprint(model) != before:
                fault = "it edited the float model"
            if fault is not None:
                raise BrokenPassError(f"lowering {lowering.name}: {fault}")
        self.trace.entries.append(TraceEntry(lowering.name, "lowering", seconds, modified=True))
        self._progress("lower", 1, 1)
        return lowered

    def _forget_refusals(self, start: int) -> None:
        """Drops the refusals since entry ``start``: the next round repeats or heals them."""
        self.trace.entries[start:] = [
            entry
            if entry.rolled_back
            else replace(
                entry, notes=tuple(n for n in entry.notes if n.kind is not NoteKind.REFUSED)
            )
            for entry in self.trace.entries[start:]
        ]


class _Rewriting:
    """The current model of one run of rewrites, with what is needed to undo the last one."""

    def __init__(
        self,
        model: ir.Model,
        *,
        check: bool,
        run_model: RunModel | None,
        probes: tuple[Mapping[str, npt.NDArray[Any]], ...],
    ) -> None:
        self.model = model
        self._check = check
        self._run_model = run_model
        self._probes = probes
        self._snapshot: ir.Model | None = None
        self._print = fingerprint(model) if check else ""
        self._outputs = self._run(model) if check else ()

    def run(self, rewrite: RewritePass) -> TraceEntry:
        """Runs one rewrite, and undoes it if it raises or breaks its contract."""
        before = self._snapshot = self._snapshot or self.model.clone()
        modified, fault = False, None
        start = time.perf_counter()
        try:
            modified = rewrite(self.model).modified
        except OnnxqError:
            raise
        except Exception as error:
            logger.debug("%s raised", rewrite.name, exc_info=True)
            fault = f"it raised {type(error).__name__}: {error}"
        seconds = time.perf_counter() - start
        notes = tuple(rewrite.take_notes())
        if self._check and fault is None:
            fault = self._judge(before, claimed=modified)
        if fault is not None:
            logger.warning("%s was rolled back: %s", rewrite.name, fault)
            self.model = before
        if fault is not None or modified:
            self._snapshot = None
        stands = modified and fault is None
        return TraceEntry(rewrite.name, "rewrite", seconds, stands, notes, fault)

    def _judge(self, before: ir.Model, *, claimed: bool) -> str | None:
        """Says how the contract is broken; None if not, and then the new model is the reference."""
        print_now = fingerprint(self.model)
        changed = print_now != self._print
        if changed and not claimed:
            return "it changed the model and says that it did not"
        if claimed and not changed:
            return "it says that it changed the model and did not"
        fault = structural_fault(before, self.model) if changed else None
        if fault is not None or not changed:
            return fault
        if self._run_model is not None:
            try:
                outputs = self._run(self.model)
            except Exception as error:
                logger.debug("the rewritten model does not run", exc_info=True)
                return f"the model does not run any more: {error}"
            reference = Reference(before, self._outputs)
            fault = find_violation(reference, self.model, outputs, self._probes, self._run_model)
            if fault is not None:
                return fault
            self._outputs = outputs
        self._print = print_now
        return None

    def _run(self, model: ir.Model) -> tuple[Mapping[str, npt.NDArray[Any]], ...]:
        run_model = self._run_model
        if run_model is None:
            return ()
        return tuple(run_model(model, feeds, None) for feeds in self._probes)


def silent(stage: str, done: int, total: int) -> None:
    """Shows no progress."""
    del stage, done, total


def teller(tell: Progress, stage: str, total: int) -> Callable[[int], None]:
    """Returns what tells how many of the ``total`` steps of ``stage`` are done; none are yet."""
    tell(stage, 0, total)
    return lambda done: tell(stage, done, total)
