"""From all sites to eighths of them; losses are given."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, QParams, QuantSpec
from onnxq.search.coarse import CoarseSearch, surely_below
from onnxq.search.greedy import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from onnxq.search.evaluator import Evaluator

SPEC = QuantSpec(IntType.parse("uint8"), symmetric=False)
OPTIONS = (1.0, 2.0, 3.0, 4.0)


def value(scale: float) -> ValuePlan:
    return ValuePlan(SPEC, QParams(np.asarray(scale, np.float32), np.array(0, np.int32), "mse"))


def sites(count: int, start: int = 1) -> list[Site]:
    labels = tuple(map(str, OPTIONS))
    return [
        Site((f"v{at}",), tuple({f"v{at}": value(scale)} for scale in OPTIONS), labels, start)
        for at in range(count)
    ]


def scales(plan: QuantPlan) -> list[float]:
    found = [value.params for value in plan.values.values()]
    return [float(params.scale) for params in found if params is not None]


@dataclass
class Told:
    """Stands for an evaluator: the losses of each sample follow from all scales."""

    losses: Callable[[list[float]], Sequence[float]]
    asked: list[QuantPlan] = field(default_factory=list)

    def each(self, candidates: Sequence[QuantPlan]) -> list[npt.NDArray[np.float64]]:
        self.asked += candidates
        return [np.asarray(self.losses(scales(plan)), np.float64) for plan in candidates]


def corrected(plan: QuantPlan) -> QuantPlan:
    """Stands for a correction: the bias says which ranges it was made for."""
    return replace(plan, bias_shift={"layer": np.array(scales(plan), np.float32)})


def searched(
    count: int,
    losses: Callable[[list[float]], Sequence[float]],
    start: int = 1,
    margin: float = 0.0,
) -> tuple[CoarseSearch, QuantPlan, list[Site], Told]:
    told, found = Told(losses), sites(count, start)
    search = CoarseSearch(
        cast("Evaluator", told), corrected, margin, "test", lambda _done, _total: None
    )
    plan = corrected(QuantPlan({f"v{at}": value(OPTIONS[start]) for at in range(count)}))
    return search, *search.run(plan, found), told


def test_all_get_the_same_first_even_over_a_worse_one() -> None:
    """Scale 3 is worse than the start, and 4 is better."""
    by_scale = {1.0: 9.0, 2.0: 4.0, 3.0: 5.0, 4.0: 1.0}
    search, plan, found, _ = searched(2, lambda at: [sum(map(by_scale.__getitem__, at))] * 3)

    assert scales(plan) == [4, 4]
    assert [site.start for site in found] == [3, 3]
    assert [(c.site.place, c.site.names, c.taken) for c in search.choices] == [
        ("graph", ("v0", "v1"), 3)
    ]
    assert search.losses.tolist() == [2, 2, 2]


def test_halves_of_halves_get_their_own() -> None:
    wanted = [1.0, 1.0, 3.0, 3.0, 2.0, 2.0, 4.0, 4.0]
    _, plan, found, _ = searched(
        8, lambda at: [1 + sum((a - b) ** 2 for a, b in zip(at, wanted, strict=True))] * 2
    )

    assert scales(plan) == wanted
    assert [OPTIONS[site.start] for site in found] == wanted


def test_a_group_stops_where_the_loss_worsens() -> None:
    """Both halves would lose nothing at 4, behind a worse 3."""

    def losses(at: list[float]) -> list[float]:
        if len(set(at)) == 1:
            return [8.0 + abs(at[0] - 2)] * 2
        moved = next(scale for scale in at if scale != 2)
        return [{1.0: 9.0, 3.0: 9.0, 4.0: 0.0}[moved]] * 2

    _, plan, _, _ = searched(4, losses)

    assert scales(plan) == [2, 2, 2, 2]


@pytest.mark.parametrize(("margin", "taken"), [(0.7, True), (0.8, False)])
def test_a_gain_reaches_the_margin(margin: float, taken: bool) -> None:
    search, _, _, _ = searched(2, lambda at: [sum(at) ** 2] * 2, margin=margin)

    assert [choice.gain for choice in search.choices] == [0.75] * taken


def test_every_option_is_measured_with_biases_of_its_own() -> None:
    _, plan, _, told = searched(4, lambda at: [sum(at), sum(at)], start=2)

    assert len(told.asked) > len(OPTIONS)
    for asked in [*told.asked, plan]:
        np.testing.assert_array_equal(asked.bias_shift["layer"], scales(asked))


@pytest.mark.parametrize(
    ("before", "after", "below"),
    [
        ([4.0, 4.0, 4.0], [1.0, 1.0, 1.0], True),
        ([4.0, 4.0, 4.0], [4.0, 4.0, 4.0], False),
        ([4.0, 4.0, 4.0], [5.0, 5.0, 5.0], False),
        ([4.0, 4.0, 100.0], [4.0, 4.0, 1.0], False),
        ([4.0], [1.0], True),
        ([math.inf, 1.0], [2.0, 2.0], True),
        ([math.inf, 1.0], [math.inf, 1.0], False),
    ],
)  # fmt: skip
def test_a_fall_must_exceed_its_standard_error(
    before: list[float], after: list[float], below: bool
) -> None:
    assert surely_below(np.array(after), np.array(before)) is below


def test_nothing_to_choose_asks_nothing() -> None:
    search, plan, found, told = searched(0, lambda _at: [1.0])

    assert (scales(plan), found, told.asked, search.choices) == ([], [], [], [])


def test_params_say_how_they_were_chosen() -> None:
    _, plan, _, _ = searched(2, lambda at: [sum(at)] * 2, start=3)
    params = plan.values["v0"].params

    assert params is not None
    assert (params.method, params.gain) == ("test", 0.75)


def test_progress_reaches_its_total() -> None:
    seen: list[tuple[int, int]] = []
    told = Told(lambda at: [sum(at)] * 2)
    search = CoarseSearch(
        cast("Evaluator", told), corrected, 0.0, "test", lambda *step: seen.append(step)
    )

    search.run(QuantPlan({f"v{at}": value(2) for at in range(5)}), sites(5))

    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > 0
    assert seen == sorted(seen)
