"""The bits of all layers for any budget: what each width costs is known, and asked often.

A budget of size is one of the file that will be written, so what is chosen is lowered and measured.
What the count had missed is taken off the budget, and the choice made anew.

Where several methods told what widths cost, each makes its choice. The one whose loss is least with
all layers rounded is taken (:mod:`onnxq.search.joint_loss`): costs of single layers need not add
up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from onnxq.budget import Budget
from onnxq.errors import RequirementError
from onnxq.plan.allocation import (
    Allocation,
    Choice,
    Limit,
    Shortage,
    allocate,
    cheapest,
)
from onnxq.plan.timing import LATENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.timing import Timing

    Costs = Mapping[str, Mapping[int, float]]

__all__ = ["BitFront", "Chosen"]

_SIZE = "size"
_ATTEMPTS = 20
_NOTHING = 1e-6


class Spent(NamedTuple):
    """What was spent of a budget.

    Attributes:
        budget: The budget.
        amount: In its own form, such as ``0.158x``.
        binds: Whether more of it would lower the loss.
    """

    budget: Budget
    amount: str
    binds: bool


class _Problem(NamedTuple):
    """What budgets make of a front.

    Attributes:
        choices: Those that they leave.
        limits: One for each budget.
        timing: Where one is of latency.
        whole: Resource → what the float model takes of it.
    """

    choices: list[Choice]
    limits: list[Limit]
    timing: Timing | None
    whole: Mapping[str, float]


@dataclass(frozen=True)
class Chosen:
    """What a front holds for some budgets.

    Attributes:
        plan: With these bits; weights have scales, and codes are the nearest ones.
        allocation: The bits, and what they take of each resource.
        size: Bytes of the file.
        spent: Of each budget, in their order.
        joint: Method → the loss with all layers rounded as its costs would have it; empty where
            there is one method alone.
    """

    plan: QuantPlan
    allocation: Allocation
    size: int
    spent: tuple[Spent, ...]
    joint: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class BitFront:
    """See the module.

    Attributes:
        choices: Weights with their widths, float among them; one without a name holds what all else
            takes.
        fixed: Names of the choices whose layers compute on integers, unless time is left for float.
        whole: Resource → what the float model takes of it.
        timing: Makes what nodes cost on integers and in float.
        planned: Makes the plan with these bits.
        size_of: Returns the bytes of the file that a plan becomes.
        speed: Estimated latency with nothing but bits to choose, over that of the float model; None
            where the target's times are not known.
        hint: What to do where a budget cannot be met.
        method: How losses were found.
        meaning: What they are, in words.
        others: Method → weight → bits → loss, as other methods found it.
        joint: Bits of all weights → the loss with all of them; asked where there are others.
    """

    choices: tuple[Choice, ...]
    fixed: frozenset[str]
    whole: Mapping[str, float]
    timing: Callable[[], Timing]
    planned: Callable[[Allocation], QuantPlan]
    size_of: Callable[[QuantPlan], int]
    speed: float | None = None
    hint: str = ""
    method: str = ""
    meaning: str = ""
    others: Mapping[str, Costs] = field(default_factory=dict)
    joint: Callable[[Mapping[str, int]], float] | None = None

    def at(self, budgets: Sequence[Budget]) -> Chosen:
        """Returns the plan of least loss.

        Raises:
            RequirementError: A budget cannot be met.
        """
        choices, limits, timing, whole = self._problem(budgets)
        most = min((one.bound for one in limits if one.resource == _SIZE), default=math.inf)
        missed = 0
        for _ in range(_ATTEMPTS):
            within = [_less(limit, missed) for limit in limits]
            own = allocate(choices, within, timing)
            if isinstance(own, Shortage):
                self._refuse(budgets[own.number], own.least + missed, whole)
            found, joint = self._judged(own, choices, within, timing)
            plan = self.planned(found)
            size = self.size_of(plan)
            if size <= most:
                break
            missed = max(missed + math.ceil(size - most), math.ceil(size - found.used[_SIZE]))
        else:
            raise AssertionError("taking off what was missed leads below the budget")
        spent = []
        for number, budget in enumerate(budgets):
            others = [_less(limit, missed) for at, limit in enumerate(limits) if at != number]
            free = allocate(choices, others, timing)
            binds = isinstance(free, Allocation) and free.loss < own.loss * (1 - _NOTHING)
            used = size if budget.resource == _SIZE else found.used[budget.resource]
            amount = budget.amount(used, whole.get(budget.resource, 1.0))
            spent.append(Spent(budget, amount, binds))
        return Chosen(plan, found, size, tuple(spent), joint)

    def _judged(
        self,
        own: Allocation,
        choices: Sequence[Choice],
        limits: Sequence[Limit],
        timing: Timing | None,
    ) -> tuple[Allocation, dict[str, float]]:
        """Returns the best of what the methods choose, and the loss with each, all layers rounded.

        Args:
            own: The choice by the losses of ``choices``.
            choices: What there is to choose from.
            limits: Hold for all.
            timing: As for :func:`onnxq.plan.allocation.allocate`.
        """
        if self.joint is None or not self.others:
            return own, {}
        rivals = {self.method: own}
        for method, costs in self.others.items():
            priced = [_priced(choice, costs.get(choice.name, {})) for choice in choices]
            other = allocate(priced, limits, timing)
            if isinstance(other, Allocation):
                rivals[method] = _repriced(other, choices)
        weights = [one.name for one in choices if one.name and not one.products]
        joint = {}
        for method, rival in rivals.items():
            options = {name: rival.options[name] for name in weights}
            alone = sum(option.loss for option in options.values())
            together = self.joint({name: option.bits for name, option in options.items()})
            joint[method] = rival.loss - alone + together
        return rivals[min(joint, key=lambda method: joint[method])], joint

    def ends(self, resource: str, budgets: Sequence[Budget] = ()) -> tuple[float, float]:
        """Returns the least of a resource that there is, and what the least loss takes of it.

        Args:
            resource: Of which the float model takes a known amount.
            budgets: Hold as well.

        Returns:
            Shares of what the float model takes.

        Raises:
            RequirementError: The budgets cannot be met.
        """
        nothing = Budget(resource, 0.0, relative=True)
        choices, limits, timing, whole = self._problem([*budgets, nothing])
        best = allocate(choices, limits[:-1], timing)
        if isinstance(best, Shortage):
            self._refuse(budgets[best.number], best.least, whole)
        least = cheapest(choices, resource, limits[:-1], timing)
        low, high = (self._amount(resource, found) / whole[resource] for found in (least, best))
        return low, max(low, high)

    def _amount(self, resource: str, found: Allocation) -> float:
        """Returns what bits take; of size, what their file takes where that is more."""
        used = found.used[resource]
        return max(used, self.size_of(self.planned(found))) if resource == _SIZE else used

    def sketch(self, budgets: Sequence[Budget]) -> Allocation | None:
        """Returns the bits of least loss, as counted; None where a budget cannot be met."""
        choices, limits, timing, _ = self._problem(budgets)
        found = allocate(choices, limits, timing)
        return found if isinstance(found, Allocation) else None

    def _problem(self, budgets: Sequence[Budget]) -> _Problem:
        timed = any(budget.resource == LATENCY for budget in budgets)
        timing = self.timing() if timed else None
        whole = dict(self.whole) if timing is None else {**self.whole, LATENCY: timing.in_float}
        choices = [choice if timed else self._on_integers(choice) for choice in self.choices]
        limits = [Limit(b.resource, b.absolute(whole.get(b.resource, 1.0))) for b in budgets]
        return _Problem(choices, limits, timing, whole)

    def _on_integers(self, choice: Choice) -> Choice:
        if choice.name not in self.fixed:
            return choice
        narrow = tuple(option for option in choice.options if option.coded)
        return Choice(choice.name, narrow, choice.nodes)

    def _refuse(self, budget: Budget, least: float, whole: Mapping[str, float]) -> NoReturn:
        amount = budget.amount(least, whole.get(budget.resource, 1.0))
        raise RequirementError(
            f"--budget {budget} cannot be met: the least is {amount}; nothing was written; give "
            f"more{self.hint}"
        )


def _less(limit: Limit, missed: float) -> Limit:
    return Limit(limit.resource, limit.bound - missed) if limit.resource == _SIZE else limit


def _priced(choice: Choice, costs: Mapping[int, float]) -> Choice:
    """Returns ``choice`` with other losses, where they are known."""
    options = [replace(one, loss=costs.get(one.bits, one.loss)) for one in choice.options]
    return replace(choice, options=options)


def _repriced(found: Allocation, choices: Sequence[Choice]) -> Allocation:
    """Returns the same with the losses of ``choices``."""
    options, loss = {}, found.loss
    for choice in choices:
        taken = found.options[choice.name]
        options[choice.name] = next(
            one for one in choice.options if (one.bits, one.real) == (taken.bits, taken.real)
        )
        loss += options[choice.name].loss - taken.loss
    return replace(found, options=options, loss=loss)
