"""Params chosen for many values at once, in ever smaller groups, by the loss at the outputs.

What one range changes at the outputs is often less than what a few samples can tell. What many
change together is not, so that the search goes from coarse to fine:

1. All sites get one option, chosen among all that there are.
2. Then both halves of them in graph order, the halves of these, and so on, :data:`_LEVELS` times.
   Each starts from what it has; options to either side are tried until the loss worsens.
3. Biases are corrected anew for every option: those corrected for another one speak for that.
4. All samples judge, since few choices are made. What counts is the mean of the losses' square
   roots: a loss is quadratic in what is wrong, and a few samples would decide alone. An option is
   taken where that falls by more than the standard error of its fall.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.paired import surely_less
from onnxq.search.either_side import walk_either_side
from onnxq.search.greedy import Choice, Losses, Site, marked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.search.evaluator import Evaluator

    Array = npt.NDArray[np.float64]

__all__ = ["CoarseSearch", "surely_below"]

_LEVELS = 4
"""One group, two, four, eight."""


@dataclass
class CoarseSearch:
    """See the module.

    Attributes:
        evaluator: Measures plans.
        correct: Returns a plan with its biases corrected.
        margin: Least share by which a choice has to lower the loss.
        method: What the params are said to be chosen by.
        tell: Is told how many of how many options are done with.
        choices: All that were taken, in order.
        losses: Of the plan that it came to, on each sample; empty before anything was measured.
    """

    evaluator: Evaluator
    correct: Callable[[QuantPlan], QuantPlan]
    margin: float
    method: str
    tell: Callable[[int, int], None]
    choices: list[Choice] = field(default_factory=list)
    losses: Array = field(default_factory=lambda: np.zeros(0))

    def run(self, plan: QuantPlan, sites: Sequence[Site]) -> tuple[QuantPlan, list[Site]]:
        """Returns ``plan`` with what was chosen, and the sites, which start from that.

        Args:
            plan: Its biases corrected.
            sites: In graph order, with the same number of options each.
        """
        found = list(sites)
        if not found:
            return plan, found
        self.losses = self.evaluator.each([plan])[0]
        groups = list(_groups(len(found)))
        done, total = 0, len(groups) * len(found[0].options)
        for group in groups:
            self.tell(done, total)
            site = _joined(found[group])
            plan, taken = self._choose(plan, site, until_worse=group is not groups[0])
            found[group] = [replace(one, start=taken) for one in found[group]]
            done += len(site.options)
        self.tell(total, total)
        return plan, found

    def _choose(self, plan: QuantPlan, site: Site, *, until_worse: bool) -> tuple[QuantPlan, int]:
        """Rules 3 and 4."""
        candidates = site.candidates(plan)
        losses = {site.start: self.losses}

        def measured(at: int) -> float:
            if at not in losses:
                candidates[at] = self.correct(candidates[at])
                losses[at] = self.evaluator.each([candidates[at]])[0]
            return _size(losses[at])

        walk_either_side(len(candidates), site.start, measured, until_worse=until_worse)
        best = min(losses, key=lambda at: (_size(losses[at]), abs(at - site.start)))
        before, after = self.losses, losses[best]
        gain = 1 - (_size(after) / _size(before)) ** 2 if _size(before) else 0.0
        if gain < self.margin or not surely_below(after, before):
            return plan, site.start
        choice = Choice(site, best, Losses.of(before), Losses.of(after), gain)
        self.choices.append(choice)
        self.losses = after
        return candidates[best].with_values(marked(choice, self.method)), best


def surely_below(after: Array, before: Array) -> bool:
    """Says whether the losses' roots fell by more than the standard error of their fall (rule 4).

    Args:
        after: Losses on each sample, float64 [samples].
        before: The same of what they are compared with.
    """
    return surely_less(np.sqrt(after), np.sqrt(before))


def _size(losses: Array) -> float:
    return float(np.sqrt(losses).mean())


def _groups(count: int) -> Iterator[slice]:
    """Yields all, both halves, their halves, as long as there are two sites to a group."""
    level = [slice(0, count)]
    for _ in range(_LEVELS):
        yield from level
        middles = [(one.start + one.stop + 1) // 2 for one in level]
        halves = [
            half
            for one, middle in zip(level, middles, strict=True)
            for half in (slice(one.start, middle), slice(middle, one.stop))
        ]
        level = [half for half in halves if half.stop - half.start > 1]


def _joined(sites: Sequence[Site]) -> Site:
    """Returns the sites as one."""
    first = sites[0]
    names = tuple(name for site in sites for name in site.names)
    options = tuple(
        {name: value for site in sites for name, value in site.options[at].items()}
        for at in range(len(first.options))
    )
    return Site(names, options, first.labels, first.start, "graph")
