"""The rules by which a search takes an option; losses are given."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, QParams, QuantSpec
from onnxq.search.greedy import GreedySearch, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from onnxq.search.evaluator import Evaluator

SPEC = QuantSpec(IntType.parse("uint8"), symmetric=False)


def value(scale: float) -> ValuePlan:
    return ValuePlan(SPEC, QParams(np.asarray(scale, np.float32), np.array(0, np.int32), "mse"))


def site(name: str, *scales: float, start: int = 0) -> Site:
    options = tuple({name: value(scale)} for scale in scales)
    return Site((name,), options, tuple(map(str, scales)), start)


@dataclass
class Told:
    """Stands for an evaluator: the loss of each half by the scale of the value that differs."""

    by_scale: dict[float, tuple[float, float]]
    feeds: tuple[int, ...] = (0, 1, 2, 3)
    evaluations: int = 0
    progress: Callable[[int], None] | None = None
    plans: list[QuantPlan] = field(default_factory=list)

    def descend(
        self, candidates: Sequence[QuantPlan], start: int, judges: Sequence[int]
    ) -> dict[int, npt.NDArray[np.float64]]:
        assert list(judges) == [0, 2]
        self.plans += candidates
        found = {}
        for at, plan in enumerate(candidates):
            scales = [round(float(v.params.scale), 3) for v in plan.values.values() if v.params]
            judged, confirmed = np.sum([self.by_scale[scale] for scale in scales], axis=0)
            found[at] = np.array([judged, confirmed] * 2)
            self.evaluations += 1
            if self.progress is not None:
                self.progress(self.evaluations)
        assert start in found
        return found


def searched(
    losses: dict[float, tuple[float, float]], *sites: Site, margin: float = 0.0
) -> tuple[GreedySearch, QuantPlan, Told]:
    told = Told(losses)
    search = GreedySearch(cast("Evaluator", told), margin, "test", lambda _done, _total: None)
    plan = QuantPlan({one.names[0]: one.options[one.start][one.names[0]] for one in sites})
    return search, search.run(plan, sites), told


def scale(plan: QuantPlan, name: str) -> float:
    params = plan.values[name].params
    assert params is not None
    return round(float(params.scale), 3)


def test_the_least_loss_of_the_judges_is_taken() -> None:
    search, plan, _ = searched({1: (8, 8), 2: (4, 6), 3: (5, 1)}, site("x", 1, 2, 3))

    assert scale(plan, "x") == 2
    assert [(choice.taken, choice.gain) for choice in search.choices] == [(1, 0.25)]


@pytest.mark.parametrize(
    ("losses", "margin"), [((4, 9), 0.0), ((4, 8), 0.0), ((7.9, 4), 0.05)],
    ids=["the others lose", "the others gain nothing", "below the margin"],
)  # fmt: skip
def test_what_is_not_confirmed_is_left(losses: tuple[float, float], margin: float) -> None:
    search, plan, _ = searched({1: (8, 8), 2: losses}, site("x", 1, 2), margin=margin)

    assert scale(plan, "x") == 1
    assert not search.choices
    assert search.first == (8, 8)


def test_a_start_without_numbers_is_left_for_one_with_them() -> None:
    _, plan, _ = searched({1: (math.inf, math.inf), 2: (4, 6)}, site("x", 1, 2))

    assert scale(plan, "x") == 2


@pytest.mark.parametrize(("gains", "taken"), [((3.0, 3.1), True), ((6.0, -0.1), False)])
def test_a_gain_must_exceed_its_standard_error(gains: tuple[float, float], taken: bool) -> None:
    before = np.array([8.0, 8.0, 8.0, 8.0])
    after = np.array([4.0, 8 - gains[0], 4.0, 8 - gains[1]])
    told = Told({})
    told.descend = lambda *_: {0: before, 1: after}  # type: ignore[method-assign]
    search = GreedySearch(cast("Evaluator", told), 0.0, "test", lambda _done, _total: None)

    search.run(QuantPlan({"x": value(1)}), [site("x", 1, 2)])

    assert bool(search.choices) is taken


def test_later_sites_see_what_was_chosen_before() -> None:
    losses = {1.0: (8.0, 8.0), 2.0: (4.0, 4.0), 5.0: (3.0, 3.0), 6.0: (1.0, 1.0)}
    _, plan, told = searched(losses, site("x", 1, 2), site("y", 5, 6))

    assert {scale(candidate, "x") for candidate in told.plans[2:]} == {2}
    assert (scale(plan, "x"), scale(plan, "y")) == (2, 6)


def test_params_say_how_they_were_chosen() -> None:
    _, plan, _ = searched({1: (8, 8), 2: (4, 6)}, site("x", 1, 2))
    params = plan.values["x"].params

    assert params is not None
    assert (params.method, params.gain) == ("test", 0.25)


def test_progress_reaches_its_total() -> None:
    seen: list[tuple[int, int]] = []
    told = Told({1: (8, 8), 2: (4, 4), 3: (9, 9)})
    search = GreedySearch(
        cast("Evaluator", told), 0.0, "test", lambda done, total: seen.append((done, total))
    )

    search.run(QuantPlan({"x": value(1)}), [site("x", 1, 2, 3), site("x", 1, 2)])

    assert seen[0] == (0, 5)
    assert seen[-1] == (5, 5)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_nothing_is_told_of_what_is_measured_behind() -> None:
    seen: list[tuple[int, int]] = []
    told = Told({1: (8, 8), 2: (4, 4)})
    search = GreedySearch(
        cast("Evaluator", told), 0.0, "test", lambda done, total: seen.append((done, total))
    )
    search.run(QuantPlan({"x": value(1)}), [site("x", 1, 2)])

    assert told.progress is None
    assert seen[-1] == (2, 2)
