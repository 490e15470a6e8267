"""What passes that choose params by the loss at the outputs have in common."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import ModelError
from onnxq.plan.note import Note, NoteKind
from onnxq.search.evaluator import Evaluator
from onnxq.search.greedy import GreedySearch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx_ir as ir

    from onnxq.passbase import PlanContext, PlanPass
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.runtime.session import Feed
    from onnxq.search.greedy import Choice, Losses
    from onnxq.search.simulation import Simulate
    from onnxq.search.sites import Sweep
    from onnxq.tasks.loss import OutputLoss

__all__ = ["OutputSearch"]

_BUDGET_BYTES = 1 << 27
_FEWEST, _MOST = 8, 64


@dataclass(frozen=True)
class OutputSearch:
    """A greedy search (:mod:`onnxq.search.greedy`) for a plan pass, and what it says of it.

    Attributes:
        name: Of the pass.
        simulate: Makes the quantized model of a plan, with its params apart.
        at_outputs: Makes the loss of the task for the float model.
        correct: Corrects the biases of the plan that is searched, as will be done with what comes
            out; None = they stay as they are.
        margin: Least share by which a choice has to lower the loss.
        samples: How many calibration samples to measure on; None = as many as
            :data:`_BUDGET_BYTES` hold of inputs and outputs, 8 to 64.
    """

    name: str
    simulate: Simulate
    at_outputs: Callable[[ir.Model], OutputLoss]
    correct: PlanPass | None
    margin: float
    samples: int | None

    def feeds(self, context: PlanContext) -> list[Feed]:
        """Returns the samples; every other one judges."""
        return list(context.samples(self.samples or _affordable(context)))

    def run(
        self, context: PlanContext, plan: QuantPlan, feeds: Sequence[Feed], sweeps: Sequence[Sweep]
    ) -> QuantPlan:
        """Returns ``plan`` with what was chosen, its biases as they were, and notes.

        Args:
            context: Model, threads, and whom to tell how far it has come.
            plan: To begin with.
            feeds: As of :meth:`feeds`.
            sweeps: Each returns the sites that it finds in the plan that the one before left.
        """
        if len(feeds) < 2:
            return plan.with_notes([self._refusal("two samples are needed, one to choose by")])
        try:
            with ThreadPoolExecutor(context.threads) as executor:
                loss = self.at_outputs(context.model)
                evaluator = Evaluator(context.model, self.simulate, feeds, loss, executor=executor)
                search = GreedySearch(
                    evaluator,
                    self.margin,
                    self.name,
                    lambda done, total: context.progress(self.name, done, total),
                )
                searched, sites = self._corrected(context, plan), 0
                for sweep in sweeps:
                    found = sweep(searched)
                    searched, sites = search.run(searched, found), sites + len(found)
        except ModelError as error:
            return plan.with_notes([self._refusal(f"the model cannot be run in parts: {error}")])
        notes = [*map(self._fired, search.choices), self._sum(search, sites)]
        return plan.with_values(searched.values).with_notes(notes)

    def _corrected(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        return plan if self.correct is None else self.correct.revise(context, plan)

    def _fired(self, choice: Choice) -> Note:
        site, before, after = choice.site, choice.before, choice.after
        chosen = f"{site.labels[site.start]} → {site.labels[choice.taken]}"
        where = site.place or site.names[0]
        return Note(NoteKind.FIRED, self.name, where, f"{chosen}: {_fall(before, after)}")

    def _sum(self, search: GreedySearch, sites: int) -> Note:
        asked = search.evaluator
        text = (
            f"{len(search.choices)} of {sites} choices taken, after {asked.evaluations} evaluations"
            f" on {len(asked.feeds)} samples"
        )
        if search.first is not None and search.choices:
            text += f": {_fall(search.first, search.choices[-1].after)}"
        return Note(NoteKind.INFO, self.name, "graph", text)

    def _refusal(self, reason: str) -> Note:
        return Note(NoteKind.REFUSED, self.name, "graph", reason)


def _fall(before: Losses, after: Losses) -> str:
    return (
        f"loss at the outputs {before.judged:.4g} → {after.judged:.4g}, on the other half"
        f" {before.confirmed:.4g} → {after.confirmed:.4g}"
    )


def _affordable(context: PlanContext) -> int:
    """Returns how many samples' inputs and outputs the budget holds."""
    ends = [*context.model.graph.inputs, *context.model.graph.outputs]
    size = sum(4 * math.prod(context.shapes.get(str(value.name), ())) for value in ends)
    return int(np.clip(_BUDGET_BYTES // max(size, 1), _FEWEST, _MOST))
