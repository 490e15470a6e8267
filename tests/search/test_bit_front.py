from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from onnxq.budget import Budget
from onnxq.errors import RequirementError
from onnxq.plan.allocation import Allocation, Choice, Option
from onnxq.plan.partition import Sides
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.timing import Timing
from onnxq.search.bit_front import BitFront


def option(bits: int, loss: float, size: float) -> Option:
    return Option(bits, loss, {"size": size, "avg-weight-bits": bits / 2, "bops": 10.0 * bits})


CHOICES = (
    Choice("w", [option(4, 3.0, 40), option(8, 1.0, 80), option(32, 0.0, 320)], ("n",)),
    Choice("v", [option(4, 2.0, 40), option(8, 0.5, 80), option(32, 0.0, 320)]),
    Choice("", [option(32, 0.0, 100)]),
)


@dataclass
class Files:
    """Plans are their notes: the bits; files have some bytes more than was counted."""

    missed: int = 0
    written: list[int] = field(default_factory=list)

    def planned(self, allocation: Allocation) -> QuantPlan:
        size = sum(option.costs["size"] for option in allocation.options.values())
        self.written.append(int(size) + self.missed)
        return QuantPlan()

    def size_of(self, plan: QuantPlan) -> int:
        del plan
        return self.written[-1]


def front(missed: int = 0) -> BitFront:
    files = Files(missed)
    return BitFront(
        choices=CHOICES,
        fixed=frozenset({"w"}),
        whole={"size": 1000.0, "bops": 4000.0},
        timing=lambda: Timing({"n": Sides(1.0, 4.0)}, (), ()),
        planned=files.planned,
        size_of=files.size_of,
        hint=", or pray",
    )


def bits(front: BitFront, *budgets: str) -> list[int]:
    found = front.at([Budget.parse(text) for text in budgets])
    return [found.allocation.options[name].bits for name in "wv"]


@pytest.mark.parametrize(
    ("budget", "wanted"),
    [
        ("size=0.18x", [4, 4]),
        ("size=0.22x", [8, 4]),
        ("size=260B", [8, 8]),
        ("size=1x", [8, 32]),
        ("bops=0.12x", [8, 8]),
        ("bops=440", [8, 4]),
    ],
)
def test_the_least_loss_within_a_budget(budget: str, wanted: list[int]) -> None:
    assert bits(front(), budget) == wanted


def test_float_is_a_choice_for_layers_on_integers_where_time_is_left() -> None:
    assert bits(front(), "size=1x", "latency=1x") == [32, 32]
    assert bits(front(), "size=1x", "latency=0.9x") == [8, 32]


def test_what_the_count_missed_is_taken_off() -> None:
    files = front(missed=30)

    found = files.at([Budget.parse("size=240B")])

    assert found.size <= 240
    assert [found.allocation.options[name].bits for name in "wv"] == [4, 4]


def test_it_is_said_what_binds() -> None:
    found = front().at([Budget.parse("size=0.23x"), Budget.parse("bops=0.5x")])

    size, bops = found.spent
    assert (size.amount, size.binds) == ("0.22x", True)
    assert (bops.amount, bops.binds) == ("0.11x", False)


@pytest.mark.parametrize(
    ("missed", "budget", "least"), [(0, "0.17x", "0.18x"), (25, "0.19x", "0.205x")]
)
def test_too_small_a_budget_says_the_least(missed: int, budget: str, least: str) -> None:
    message = f"--budget size={budget} cannot be met: the least is {least}.*, or pray"
    with pytest.raises(RequirementError, match=message):
        front(missed).at([Budget.parse(f"size={budget}")])


def judged(losses: dict[tuple[int, int], float]) -> BitFront:
    """The front where another method finds "v" the dearer one, and what was measured together."""
    return replace(
        front(),
        method="measured",
        others={"quadratic": {"w": {4: 1.5, 8: 1.0}, "v": {4: 4.0, 8: 0.5}}},
        joint=lambda bits: losses[bits["w"], bits["v"]],
    )


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [({(8, 4): 3.0, (4, 8): 2.5}, [4, 8]), ({(8, 4): 2.5, (4, 8): 3.0}, [8, 4])],
)
def test_of_what_methods_choose_the_least_loss_with_all_layers_rounded(
    losses: dict[tuple[int, int], float], wanted: list[int]
) -> None:
    budget = Budget.parse("size=0.22x")
    found = judged(losses).at([budget])

    assert [found.allocation.options[name].bits for name in "wv"] == wanted
    assert found.joint == {"measured": losses[8, 4], "quadratic": losses[4, 8]}
    own = {one.name: {option.bits: option.loss for option in one.options} for one in CHOICES}
    assert found.allocation.loss == own["w"][wanted[0]] + own["v"][wanted[1]]
    assert found.allocation.used["size"] == 220


def test_a_choice_that_loses_by_the_losses_at_hand_does_not_unbind_a_budget() -> None:
    budgets = [Budget.parse("size=0.22x"), Budget.parse("bops=440")]
    found = judged({(8, 4): 3.0, (4, 8): 2.5}).at(budgets)

    alone = front().at(budgets)
    assert [one.binds for one in found.spent] == [one.binds for one in alone.spent]


def test_one_method_alone_is_not_judged() -> None:
    def refuse(bits: object) -> float:
        raise AssertionError(bits)

    assert bits(replace(front(), joint=refuse), "size=0.22x") == [8, 4]
