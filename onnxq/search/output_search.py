"""What passes that choose params by the loss at the outputs have in common."""

from __future__ import annotations

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import ModelError
from onnxq.plan.note import Note, NoteKind
from onnxq.search.coarse import CoarseSearch, surely_below
from onnxq.search.evaluator import Evaluator
from onnxq.search.greedy import GreedySearch
from onnxq.search.sites import widened, with_ranges

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
        standing_in: Fits weights to have full width while it searches, and to have their bits
            behind, since a later pass rounds them; None = they have their bits throughout.
    """

    name: str
    simulate: Simulate
    at_outputs: Callable[[ir.Model], OutputLoss]
    correct: PlanPass | None
    margin: float
    samples: int | None
    standing_in: PlanPass | None = None

    def feeds(self, context: PlanContext) -> list[Feed]:
        """Returns the samples; every other one judges."""
        return list(context.samples(self.samples or _affordable(context)))

    def run(
        self,
        context: PlanContext,
        plan: QuantPlan,
        feeds: Sequence[Feed],
        activations: Sweep,
        weights: Sweep | None = None,
    ) -> QuantPlan:
        """Returns ``plan`` with what was chosen, its biases as they were, and notes.

        Ranges are chosen in groups, from coarse to fine (:mod:`onnxq.search.coarse`), and then one
        by one. With biases corrected for them, the single choices have to be better together than
        none of them. Weights come last.

        Args:
            context: Model, threads, and whom to tell how far it has come.
            plan: To begin with.
            feeds: As of :meth:`feeds`.
            activations: Returns the ranges that there are to choose in a plan.
            weights: The same for weights; None = they are left alone.
        """
        if len(feeds) < 2:
            return plan.with_notes([self._refusal("two samples are needed, one to choose by")])
        try:
            with ThreadPoolExecutor(context.threads) as executor:
                loss = self.at_outputs(context.model)
                evaluator = Evaluator(context.model, self.simulate, feeds, loss, executor=executor)
                start = plan
                if self.standing_in is not None:
                    start = widened(context, plan, self.standing_in)
                searched, choices, sites = self._ranges(context, start, evaluator, activations)
                if weights is not None:
                    found = weights(searched)
                    search = self._greedy(context, evaluator)
                    searched = search.run(searched, found)
                    choices, sites = [*choices, *search.choices], sites + len(found)
        except ModelError as error:
            return plan.with_notes([self._refusal(f"the model cannot be run in parts: {error}")])
        notes = [*map(self._fired, choices), self._sum(choices, sites, evaluator)]
        if choices and self.standing_in is not None:
            searched = with_ranges(context, plan, searched, self.standing_in)
        return (plan.with_values(searched.values) if choices else plan).with_notes(notes)

    def _ranges(
        self, context: PlanContext, plan: QuantPlan, evaluator: Evaluator, activations: Sweep
    ) -> tuple[QuantPlan, list[Choice], int]:
        """Returns the plan with its ranges chosen, the choices, and how many ranges there were."""
        correct = functools.partial(self._corrected, context)
        plan = correct(plan)
        groups = CoarseSearch(evaluator, correct, self.margin, self.name, self._tell(context))
        plan, sites = groups.run(plan, activations(plan))
        search = self._greedy(context, evaluator)
        finer = search.run(plan, sites)
        if search.choices:
            finer = correct(finer)
            if surely_below(evaluator.each([finer])[0], groups.losses):
                return finer, [*groups.choices, *search.choices], len(sites)
        return plan, groups.choices, len(sites)

    def _greedy(self, context: PlanContext, evaluator: Evaluator) -> GreedySearch:
        return GreedySearch(evaluator, self.margin, self.name, self._tell(context))

    def _tell(self, context: PlanContext) -> Callable[[int, int], None]:
        return lambda done, total: context.progress(self.name, done, total)

    def _corrected(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        return plan if self.correct is None else self.correct.revise(context, plan)

    def _fired(self, choice: Choice) -> Note:
        site, before, after = choice.site, choice.before, choice.after
        chosen = f"{site.labels[site.start]} → {site.labels[choice.taken]}"
        if site.place:
            chosen = f"{len(site.names)} values from {site.names[0]} to {site.names[-1]}: {chosen}"
        where = site.place or site.names[0]
        return Note(NoteKind.FIRED, self.name, where, f"{chosen}: {_fall(before, after)}")

    def _sum(self, choices: Sequence[Choice], sites: int, evaluator: Evaluator) -> Note:
        text = (
            f"{len(choices)} choices taken for {sites} places, after {evaluator.evaluations}"
            f" evaluations on {len(evaluator.feeds)} samples"
        )
        if choices:
            text += f": {_fall(choices[0].before, choices[-1].after)}"
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
