"""Walks the front of a plan: completes it for some budgets, and judges what comes out.

A point of the front is a promise of the estimate. Here the rest of the passes runs (rounding,
correction of biases), the model is lowered, and its outputs are compared with the float model's on
held-out samples.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from onnxq.budget import Budget
from onnxq.errors import RequirementError
from onnxq.manager import PassManager, teller
from onnxq.options import FIDELITIES
from onnxq.passes.plan.allocate_bits import AllocateBits
from onnxq.plan.timing import LATENCY
from onnxq.report.front import FrontPoint
from onnxq.report.requirements import shown
from onnxq.search.bisection import least_amount_that

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from onnxq.config import Config
    from onnxq.manager import Progress
    from onnxq.options import Requirement
    from onnxq.passbase import PlanContext, PlanPass
    from onnxq.plan.allocation import Allocation
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.report.result import Fidelity
    from onnxq.search.bit_front import BitFront

__all__ = ["FrontWalk", "begin"]

_SIZE = "size"
_POINTS = 20
_MEASURED = 5
_NO_PART = 1e-9
_ANY = 1e9


class _Seen(NamedTuple):
    """What was tried.

    Attributes:
        resource: Of which there was a budget.
        share: How much, over what the float model takes.
        metrics: What came out.
    """

    resource: str
    share: float
    metrics: dict[str, float | None]


def begin(
    manager: PassManager, context: PlanContext, passes: Sequence[PlanPass], plan: QuantPlan
) -> tuple[QuantPlan, Sequence[PlanPass]]:
    """Runs the passes in front of ``allocate-bits``.

    Returns:
        The plan, and the passes that are left.
    """
    number = next(at for at, one in enumerate(passes) if isinstance(one, AllocateBits))
    return manager.revise(context, passes[:number], plan), passes[number:]


@dataclass(frozen=True, eq=False)
class FrontWalk:
    """See the module.

    Attributes:
        context: What plan passes may read.
        plan: As it is in front of the choice of bits.
        passes: Those that complete it; ``allocate-bits`` is the first.
        judged: Names of passes to mistrust.
        judge: Measures a plan on held-out samples.
        config: The options.
        tell: Is told how far it has come.
    """

    context: PlanContext
    plan: QuantPlan
    passes: Sequence[PlanPass]
    judged: Collection[str]
    judge: Callable[[QuantPlan], Fidelity]
    config: Config
    tell: Progress

    @cached_property
    def front(self) -> BitFront:
        """What there is to choose from."""
        return self._allocate.front(self.context, self.plan, self._allocate.sensitivity)

    @property
    def _allocate(self) -> AllocateBits:
        first = self.passes[0]
        assert isinstance(first, AllocateBits), "the pipeline lists it first"
        return first

    def complete(self, budgets: Sequence[Budget]) -> QuantPlan:
        """Runs all passes with these budgets."""
        passes = [replace(self._allocate, budgets=tuple(budgets)), *self.passes[1:]]
        return PassManager(judged=self.judged).revise(self.context, passes, self.plan)

    def chosen(self) -> Sequence[PlanPass]:
        """Returns the passes with the budgets to keep: where something is to be saved, the least.

        Raises:
            RequirementError: No budget leads to what is required.
        """
        budgets = self._cheapest() if self.config.minimize else self.config.budget
        return [replace(self._allocate, budgets=budgets), *self.passes[1:]]

    def _cheapest(self) -> tuple[Budget, ...]:
        """Returns the budgets of the smallest or fastest model that does what is required.

        1. Layers that can run on integers do so, as long as that is good enough with most bits.
        2. Else the smallest model is looked for among those that may compute in float, and of its
           size the one that is the fastest by estimate.

        Raises:
            RequirementError: None does; the message tells the best that was seen.
        """
        resource, budgets = self._resource, self.config.budget
        seen: list[_Seen] = []
        found = self._least(resource, budgets, seen)
        timed = any(budget.resource == LATENCY for budget in budgets)
        if found is None and resource != LATENCY and not timed and self.front.speed is not None:
            found = self._least(resource, (*budgets, self._share(LATENCY, _ANY)), seen)
            if found is not None:
                budgets = (*budgets, self._share(resource, found))
                resource, found = LATENCY, self._least(LATENCY, budgets, seen) or _ANY
        if found is None:
            raise RequirementError(self._missed(seen))
        return (*budgets, self._share(resource, found))

    def _least(self, resource: str, budgets: Sequence[Budget], seen: list[_Seen]) -> float | None:
        """Returns the least share of float's with which a model does what is required.

        What was tried is added to ``seen``.
        """
        told = teller(self.tell, f"walk the front of {resource}", 9)
        tried = itertools.count(1)

        def holds(share: float) -> bool:
            found = self.judge(self.complete([*budgets, self._share(resource, share)]))
            metrics = {name: found.metric(name) for name in FIDELITIES}
            seen.append(_Seen(resource, share, metrics))
            told(next(tried))
            return all(one.met(metrics[one.metric]) for one in self._wanted)

        return least_amount_that(holds, *self.front.ends(resource, budgets))

    def _missed(self, seen: Sequence[_Seen]) -> str:
        wanted = self._wanted
        best = max(seen, key=lambda one: one.metrics[wanted[0].metric] or -math.inf)
        listed = ", ".join(
            f"{one} (the best seen is {shown(best.metrics[one.metric])})" for one in wanted
        )
        return (
            f"no choice of bits reaches {listed} at {best.share:.3f}x of float's {best.resource}; "
            "nothing was written; lower the bound, or give other or more calibration data"
        )

    @property
    def _wanted(self) -> list[Requirement]:
        return [one for one in self.config.require if one.metric in FIDELITIES]

    def points(self) -> tuple[FrontPoint, ...]:
        """Returns points of the front from the least to the most, some of them measured.

        Without ``--pareto`` there are none.
        """
        if self.config.pareto is None:
            return ()
        resource, budgets = self._resource, self.config.budget
        least, most = self.front.ends(resource, budgets)
        shares = [least * (most / least) ** (at / (_POINTS - 1)) for at in range(_POINTS)]
        sketches: dict[float, Allocation] = {}
        for share in shares:
            found = self.front.sketch([*budgets, self._share(resource, share)])
            if found is not None and found.loss not in [one.loss for one in sketches.values()]:
                sketches[share] = found
        every = max(1, (len(sketches) - 1) / (_MEASURED - 1))
        chosen = {round(at * every) for at in range(_MEASURED)}
        told = teller(self.tell, "measure the front", len(chosen))
        points = []
        for number, (share, found) in enumerate(sketches.items()):
            plan = None
            if number in chosen:
                plan = self.complete([*budgets, self._share(resource, share)])
                told(sum(one <= number for one in chosen))
            points.append(self._point(found, plan))
        return tuple(points)

    def _point(self, found: Allocation, plan: QuantPlan | None) -> FrontPoint:
        front, latency = self.front, self.front.speed
        if LATENCY in found.used:
            latency = found.used[LATENCY] / front.timing().in_float
        size, metrics = round(found.used[_SIZE]), {}
        if plan is not None:
            judged, size = self.judge(plan), front.size_of(plan)
            metrics = {name: judged.metric(name) for name in FIDELITIES}
        bits = found.used["avg-weight-bits"]
        return FrontPoint(bits, size, size / front.whole[_SIZE], latency, found.loss, **metrics)

    @staticmethod
    def _share(resource: str, share: float) -> Budget:
        # what was counted may be off by what floats round
        return Budget(resource, share * (1 + _NO_PART), relative=True)

    @property
    def _resource(self) -> str:
        return self.config.minimize or _SIZE
