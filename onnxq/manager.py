"""Runs passes, times them, records what they did, and holds them to their contracts.

In checking mode every rewrite must prove that it kept the model's function
(:mod:`onnxq.contract`), that what it says about having changed the model is true, and that the
graph is still legal. One that fails is rolled back and reported; its work never reaches the output.
A rewrite that raises is rolled back in either mode. Passes that others wrote are judged in either
mode, too; a plan pass of theirs that raises, edits the model or makes a plan that does not fit is
rolled back as well, where one of onnxq's own is a bug.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from onnxq.contract import structural_fault
from onnxq.graph.io import fingerprint
from onnxq.passbase import Progress, silent, summary_of
from onnxq.plan.note import NoteKind
from onnxq.revising import Revision, guarded
from onnxq.rewriting import Rewriting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.graph.prior import Prior
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
        summary: What the pass does, in one line.
    """

    name: str
    kind: str
    seconds: float
    modified: bool
    notes: tuple[Note, ...] = ()
    rolled_back: str | None = None
    summary: str = ""


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
        judged: Names of passes to judge even without ``check``, and to mistrust: those of others.
        run_model: Runs a model, with all optimizations off, on feeds; needed to check rewrites.
        probes: Feeds on which a rewrite must keep the outputs. Without any, only the form of the
            graph is checked.
        progress: Is told before each pass and after the last.
        watch: Is shown the name of each rewrite, and the model that it is about to get.

    Attributes:
        trace: What has been done so far.
    """

    def __init__(  # noqa: PLR0913 (each is optional and named at the call)
        self,
        *,
        check: bool = False,
        judged: Collection[str] = (),
        run_model: RunModel | None = None,
        probes: Sequence[Mapping[str, npt.NDArray[Any]]] = (),
        progress: Progress | None = None,
        watch: Callable[[str, ir.Model], None] | None = None,
    ) -> None:
        if (check or judged) and probes and run_model is None:
            raise ValueError("probes need run_model")
        self.trace = Trace()
        self._check = check
        self._judged = frozenset(judged)
        self._run_model = run_model
        self._probes = tuple(probes)
        self._progress = progress or silent
        self._watch = watch

    def rewrite(
        self,
        model: ir.Model,
        passes: Sequence[RewritePass],
        *,
        to_fixpoint: bool = False,
        prior: Prior | None = None,
    ) -> ir.Model:
        """Runs rewrites one after the other.

        Args:
            model: Edited in place as long as nothing has to be rolled back.
            passes: The rewrites. One that was rolled back is not tried again.
            to_fixpoint: Whether to repeat the list until a round changes nothing, at most eight
                times. Refusals are kept from the last round alone.
            prior: What the rewrites write down of values. It follows the model: what is undone is
                undone there too. A judged pass of others may mean something else by a name than
                before, so nothing is taken as known behind it.

        Returns:
            The current model, which is another object than ``model`` after a roll-back.

        Raises:
            OnnxqError: A rewrite met something that the user has to mend.
        """
        known: Prior = {} if prior is None else prior
        state = Rewriting(model, run_model=self._run_model, probes=self._probes, prior=known)
        active, first = list(passes), len(self.trace.entries)
        for _ in range(_ROUNDS if to_fixpoint else 1):
            entries: list[TraceEntry] = []
            for number, rewrite in enumerate(active):
                self._progress("rewrite", number, len(active))
                if self._watch is not None:
                    self._watch(rewrite.name, state.model)
                judge = self._check or rewrite.name in self._judged
                outcome = state.run(rewrite, judge=judge)
                if outcome.modified and rewrite.name in self._judged:
                    known.clear()
                entries.append(TraceEntry(rewrite.name, "rewrite", *outcome, summary_of(rewrite)))
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
        context = replace(context, progress=self._progress)
        for number, revision in enumerate(passes):
            self._progress("plan", number, len(passes))
            if revision.name in self._judged:
                revised, seconds, fault = guarded(revision, context, plan)
            else:
                revised, seconds, fault = self._revise(revision, context, plan)
            notes = revised.notes[len(plan.notes) :]
            told = revised is not plan, notes, fault, summary_of(revision)
            entry = TraceEntry(revision.name, "plan", seconds, *told)
            self.trace.entries.append(entry)
            plan = revised
        self._progress("plan", len(passes), len(passes))
        return plan

    def _revise(self, revision: PlanPass, context: PlanContext, plan: QuantPlan) -> Revision:
        before = fingerprint(context.model) if self._check else None
        start = time.perf_counter()
        revised = revision.revise(context, plan)
        seconds = time.perf_counter() - start
        if before is not None and fingerprint(context.model) != before:
            raise BrokenPassError(f"plan pass {revision.name} edited the float model")
        return Revision(revised, seconds)

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
        entry = TraceEntry(
            lowering.name, "lowering", seconds, modified=True, summary=summary_of(lowering)
        )
        self.trace.entries.append(entry)
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


def teller(tell: Progress, stage: str, total: int) -> Callable[[int], None]:
    """Returns what tells how many of the ``total`` steps of ``stage`` are done; none are yet."""
    tell(stage, 0, total)
    return lambda done: tell(stage, done, total)
