"""``--calibration auto``: ways to fit ranges, from the cheapest on, as long as they help.

1. A rung is one method or several, of which the best on held-out samples counts.
2. What meets ``--require``, as far as calibration can, is taken at once.
3. A rung whose best gains less than :data:`LEAST_GAIN` dB at the worst output is not worth its
   cost: what was best before is taken, and no further rung is tried.

Held-out samples choose among a handful of plans here, so that the fidelity they show is a little
better than that of samples which chose nothing.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from onnxq.manager import TraceEntry
from onnxq.plan.note import Note, NoteKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnxq.config import Requirement
    from onnxq.manager import Progress, Trace
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.report.result import Fidelity

__all__ = ["LADDER", "LEAST_GAIN", "climb"]

LADDER = (("mse",), ("lp:1.5", "lp:3", "kl"), ("adaptive-lp",), ("pd",))
"""The methods of each rung."""

LEAST_GAIN = 0.5
"""dB by which a rung has to be better than those below."""

_NAME = "auto"
_MOVED = ("sqnr", "agreement", "f1")


class _Attempt(NamedTuple):
    """What came of one method.

    Attributes:
        method: The method.
        plan: Its plan.
        entries: What its passes did.
        fidelity: On held-out samples.
    """

    method: str
    plan: QuantPlan
    entries: list[TraceEntry]
    fidelity: Fidelity

    @property
    def sqnr(self) -> float:
        """DB of the worst output; no number is worse than any."""
        value = self.fidelity.metric("sqnr")
        return -math.inf if value is None or math.isnan(value) else value

    def meets(self, requirements: Sequence[Requirement]) -> bool:
        """Whether it meets all that calibration can move, and something is asked for at all."""
        asked = [wanted for wanted in requirements if wanted.metric in _MOVED]
        return bool(asked) and all(
            wanted.met(self.fidelity.metric(wanted.metric)) for wanted in asked
        )


def climb(
    trace: Trace,
    fit: Callable[[str], QuantPlan],
    judge: Callable[[QuantPlan], Fidelity],
    requirements: Sequence[Requirement],
    progress: Progress,
) -> QuantPlan:
    """Returns the plan of the method that the rules choose, with notes on what was tried.

    Args:
        trace: Of the manager that ``fit`` runs passes with; keeps those of the chosen method.
        fit: Returns the complete plan of a method.
        judge: Measures a plan on held-out samples.
        requirements: What the user asked for.
        progress: Is told how many rungs are done.
    """
    start, mark = time.perf_counter(), len(trace.entries)
    attempts: list[_Attempt] = []

    def tried(method: str) -> _Attempt:
        del trace.entries[mark:]
        plan = fit(method)
        attempts.append(_Attempt(method, plan, trace.entries[mark:], judge(plan)))
        return attempts[-1]

    best, reason = _climbed(tried, requirements, progress)
    progress(_NAME, len(LADDER), len(LADDER))
    notes = [*map(_tried, attempts), Note(NoteKind.FIRED, _NAME, best.method, reason)]
    trace.entries[mark:] = best.entries
    seconds = time.perf_counter() - start - sum(entry.seconds for entry in best.entries)
    trace.entries.append(TraceEntry(_NAME, "plan", seconds, modified=True, notes=tuple(notes)))
    return best.plan.with_notes(notes)


def _climbed(
    tried: Callable[[str], _Attempt], requirements: Sequence[Requirement], progress: Progress
) -> tuple[_Attempt, str]:
    """Returns what is taken, and why nothing further was tried."""
    best: _Attempt | None = None
    for number, methods in enumerate(LADDER):
        progress(_NAME, number, len(LADDER))
        rung = _rung(tried, methods, requirements)
        if rung.meets(requirements):
            return rung, "taken: it meets what is required"
        if best is not None and not rung.sqnr - best.sqnr >= LEAST_GAIN:
            return best, (
                f"taken: {rung.method} gains {rung.sqnr - best.sqnr:.2f} dB, less than the"
                f" {LEAST_GAIN:g} that are worth a rung"
            )
        best = rung
    assert best is not None, "the ladder has rungs"
    return best, "taken: it is the last rung"


def _rung(
    tried: Callable[[str], _Attempt], methods: Sequence[str], requirements: Sequence[Requirement]
) -> _Attempt:
    """Returns the first that meets what is required, else the best."""
    found: list[_Attempt] = []
    for method in methods:
        found.append(tried(method))
        if found[-1].meets(requirements):
            return found[-1]
    return max(found, key=lambda attempt: attempt.sqnr)


def _tried(attempt: _Attempt) -> Note:
    parts = [f"{attempt.sqnr:.2f} dB at the worst output"]
    agreement, f1 = (attempt.fidelity.metric(name) for name in ("agreement", "f1"))
    parts += [f"agreement {agreement:.3f}"] if agreement is not None else []
    parts += [f"F1 {f1:.3f}"] if f1 is not None else []
    return Note(NoteKind.INFO, _NAME, attempt.method, f"{', '.join(parts)} (held-out samples)")
