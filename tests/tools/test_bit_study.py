"""The study of bits: what it tries, and its random choice."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onnxq.search.width_costs import WidthCosts
from tests.passes.plan.planning import build
from tests.passes.rewrite.building import rng_weight
from tools.study import bits
from tools.study.bits import Plan, measure_bits, random_costs
from tools.study.trials import Measured

if TYPE_CHECKING:
    import pytest

    from tools.study.trials import Trial

PLAN = Plan(["net"], ["auto"], seeds=2, samples=32)


def test_sizes_of_uniform_weights_are_budgets_once_they_are_known() -> None:
    uniform = PLAN.uniform()
    sizes = (0.1234567, 0.19, 0.31, 0.13, 0.2, 0.32)
    rows = {trial: Measured(size=size) for trial, size in zip(uniform, sizes, strict=True)}

    first, *_, last = PLAN.chosen(rows)
    budgets = {(t.seed, dict(t.options)["budget"]) for t in PLAN.chosen(rows)}

    assert [dict(trial.options)["weights"] for trial in uniform] == [2, 4, 8] * 2
    assert {(0, "size=0.12346x"), (0, "size=0.19x"), (1, "size=0.13x")} <= budgets
    assert len(budgets) == 2 * 5
    assert (0, "avg-weight-bits=5") in budgets
    assert dict(first.options)["sensitivity"] == "auto"
    assert dict(last.options)["sensitivity"] == "random"
    assert len(PLAN.chosen({})) == 2 * 3 * 2


def test_random_costs_are_by_number_and_stay() -> None:
    graph = build(
        """f (float[1,8,4,4] x, float[8,8,3,3] w, float[2,8,1,1] v) => (float[1,2,2,2] y) {
        c = Conv(x, w)
        y = Conv(c, v) }""",
        w=rng_weight(8, 8, 3, 3),
        v=rng_weight(2, 8, 1, 1),
    ).graph
    layers = {str(node.inputs[1].name): node for node in graph}  # type: ignore[union-attr]
    given = (None, None, layers, {2: None, 4: None})

    found = random_costs(3)(*given).costs

    assert found == random_costs(3)(*given).costs
    assert found["w"][2] == 16 * found["w"][4]
    assert random_costs(4)(*given).costs != found


def test_costs_are_found_once_for_all_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def measure(trial: Trial, *_: object) -> Measured:
        import_module("onnxq.search.bit_search").width_costs()  # patched, as the run finds it
        asked.append(trial.seed)
        return Measured()

    def costs(*_: Any) -> WidthCosts:  # noqa: ANN401 (whatever is passed on)
        asked.append("costs")
        return WidthCosts({}, "measured", "")

    monkeypatch.setattr(bits, "measure", measure)
    monkeypatch.setattr(bits, "width_costs", costs)
    monkeypatch.setattr(bits, "_known", {})
    for trial in PLAN.chosen({}):
        if dict(trial.options)["sensitivity"] == "auto":
            measure_bits(trial, None)  # type: ignore[arg-type]

    assert asked == ["costs", 0, 0, 0, "costs", 1, 1, 1]
