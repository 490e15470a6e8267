"""Params chosen one after the other by the loss at the outputs, whatever suggests them.

1. Sites are taken in their order, which is that of the graph. All others keep what they have: what
   was chosen before, and the start's behind. Choices made one by one without that are worse
   together than the start.
2. From the start on, options to either side are tried until the loss on one half of the samples,
   the judges, worsens.
3. The best is taken where it lowers that loss by the margin or more, and lowers it on the other
   half too, by more than the standard error of what it changes there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from onnxq.numerics.paired import surely_less

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan
    from onnxq.search.evaluator import Evaluator

__all__ = ["Choice", "GreedySearch", "Losses", "Site", "marked"]


@dataclass(frozen=True)
class Site:
    """A place with a choice.

    Attributes:
        names: Values that share the params that are chosen.
        options: Value name → what it becomes, ordered by what is searched. Others than ``names``
            are what follows from the choice.
        labels: What the options are called.
        start: Position of the option that stands for leaving all as it is.
        place: What notes call it; empty = the first of ``names``.
    """

    names: tuple[str, ...]
    options: tuple[Mapping[str, ValuePlan], ...]
    labels: tuple[str, ...]
    start: int
    place: str = ""

    def candidates(self, plan: QuantPlan) -> list[QuantPlan]:
        """Returns the plans to choose among; the start's is ``plan`` itself."""
        found = [plan.with_values(option) for option in self.options]
        found[self.start] = plan
        return found


class Losses(NamedTuple):
    """Mean losses at the outputs.

    Attributes:
        judged: On the samples that choose.
        confirmed: On the others.
    """

    judged: float
    confirmed: float

    @classmethod
    def of(cls, losses: npt.NDArray[np.float64]) -> Self:
        """Sums up the losses of all samples: every other one judges."""
        return cls(float(np.mean(losses[::2])), float(np.mean(losses[1::2])))


@dataclass(frozen=True)
class Choice:
    """What was chosen at a site.

    Attributes:
        site: The site.
        taken: Position of the option.
        before: What the start lost.
        after: What the option loses.
        gain: Share by which the loss fell; on the samples that did not choose, if there are such.
    """

    site: Site
    taken: int
    before: Losses
    after: Losses
    gain: float


@dataclass
class GreedySearch:
    """See the module.

    Attributes:
        evaluator: Measures plans.
        margin: Least share by which a choice has to lower the loss.
        method: What the params are said to be chosen by.
        tell: Is told how many of how many options are done with.
        choices: All that were taken, in order.
        first: What the plan lost to begin with; None before anything was measured.
    """

    evaluator: Evaluator
    margin: float
    method: str
    tell: Callable[[int, int], None]
    choices: list[Choice] = field(default_factory=list)
    first: Losses | None = None

    def run(self, plan: QuantPlan, sites: Sequence[Site]) -> QuantPlan:
        """Returns ``plan`` with what was chosen; params say by what they were, and their gain."""
        done, total = 0, sum(len(site.options) for site in sites)
        self.tell(0, total)
        for site in sites:
            first = self.evaluator.evaluations - done
            self.evaluator.progress = lambda count, first=first: self.tell(count - first, total)
            choice = self._choose(plan, site)
            if choice is not None:
                self.choices.append(choice)
                plan = plan.with_values(marked(choice, self.method))
            done += len(site.options)
            self.tell(done, total)
        self.evaluator.progress = None  # what is measured from here on is none of these options
        return plan

    def _choose(self, plan: QuantPlan, site: Site) -> Choice | None:
        """Rules 2 and 3."""
        judges = range(0, len(self.evaluator.feeds), 2)
        measured = self.evaluator.descend(site.candidates(plan), site.start, judges)
        losses = {at: Losses.of(found) for at, found in measured.items()}
        best = min(losses, key=lambda at: (losses[at].judged, abs(at - site.start)))
        before, after = losses[site.start], losses[best]
        self.first = self.first or before
        enough = after.judged <= (1 - self.margin) * before.judged
        if best == site.start or not enough:
            return None
        if not surely_less(measured[best][1::2], measured[site.start][1::2]):
            return None
        return Choice(site, best, before, after, 1 - after.confirmed / before.confirmed)


def marked(choice: Choice, method: str) -> Mapping[str, ValuePlan]:
    """Returns what values become by a choice; their params say by what method, and the gain."""
    option = dict(choice.site.options[choice.taken])
    for name in choice.site.names:
        params = option[name].params
        assert params is not None, "options have params"
        option[name] = replace(
            option[name], params=replace(params, method=method, gain=choice.gain)
        )
    return option
