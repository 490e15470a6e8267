"""What widths cost: on how many samples, and after which rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.config import Config
from onnxq.errors import ModelError
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.plan.bit_plans import with_bits
from onnxq.plan.weight_sites import weight_sites
from onnxq.search.bit_costs import bit_costs
from onnxq.search.width_costs import width_costs
from onnxq.tasks.loss import GenericLoss
from tests.passes.plan.planning import build, context_for, plan_for
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    from onnxq.search.width_costs import WidthCosts

LOSS = GenericLoss(["y"])
FEEDS = [
    {"x": rng.normal(size=(1, 6, 10, 10)).astype(np.float32)}
    for rng in map(np.random.default_rng, range(24))
]
CONTEXT = context_for(
    build(
        """f (float[1,6,10,10] x, float[8,6,3,3] w, float[3,8,1,1] v) => (float[1,3,8,8] y) {
        c = Conv(x, w)
        r = Relu(c)
        y = Conv(r, v) }""",
        w=rng_weight(8, 6, 3, 3),
        v=rng_weight(3, 8, 1, 1, seed=1),
    ),
    samples=FEEDS,
)


def found(method: str, rounding: str = "nearest") -> WidthCosts:
    plan = plan_for(CONTEXT)
    sites = weight_sites(CONTEXT.model, plan, {str(n.name) for n in CONTEXT.model.graph})
    plans = {}
    for bits in (2, 4):
        wished = with_bits(plan, sites, {site.name: bits for site in sites})
        plans[bits] = FitWeights().revise(CONTEXT, wished)
    layers = {site.name: site.nodes[0] for site in sites}
    return width_costs(CONTEXT, LOSS, layers, plans, FEEDS, method, Config(rounding=rounding))


def refuse(*_: object, **__: object) -> None:
    raise ModelError("no gradient of Conv")


def test_auto_measures_a_small_model() -> None:
    auto = found("auto")

    assert auto.method == "measured"
    assert auto.costs == found("measured").costs
    assert "measured, on 24 samples; affordable for 4 models" in auto.text


def test_auto_asks_the_curvature_too_and_what_all_layers_lose_together() -> None:
    auto = found("auto", "gptq+cd")
    alone = found("measured", "gptq+cd")

    assert auto.others == {"quadratic": found("quadratic", "gptq+cd").costs}
    assert auto.joint is not None
    for name in "wv":
        assert auto.joint({name: 2}) == pytest.approx(alone.costs[name][2], rel=1e-5)
    assert not alone.others
    assert alone.joint is None


def test_auto_measures_alone_what_has_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.search.bit_costs.probe_curvature", refuse)

    auto = found("auto")

    assert auto.method == "measured"
    assert not auto.others
    assert auto.joint is None


def test_auto_takes_the_curvature_where_runs_are_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.search.width_costs.run_seconds", lambda *_: 10.0)

    auto = found("auto")

    assert auto.method == "quadratic"
    assert auto.costs == found("quadratic").costs


def test_auto_measures_a_dear_model_without_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.search.width_costs.run_seconds", lambda *_: 10.0)
    monkeypatch.setattr("onnxq.search.bit_costs.probe_curvature", refuse)

    auto = found("auto")

    assert auto.method == "measured"
    assert "on 8 samples; the model has no gradient" in auto.text
    with pytest.raises(ModelError, match="--sensitivity measured needs no gradient"):
        found("quadratic")


def test_samples_that_are_affordable_come_from_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Any] = []

    def costs(*given: Any, **named: Any) -> Any:  # noqa: ANN401 (passed on)
        looked_at.extend(given[2] if given[4] == "measured" else ())
        return bit_costs(*given, **named)

    monkeypatch.setattr("onnxq.search.width_costs.bit_costs", costs)
    monkeypatch.setattr("onnxq.search.width_costs.run_seconds", lambda *_: 90 / 4 / 12)

    assert "on 12 samples" in found("auto", "gptq+cd").text
    numbers = [next(at for at, feed in enumerate(FEEDS) if feed is one) for one in looked_at]
    assert sorted(numbers) == [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21]


def test_rounding_to_come_costs_less_than_nearest_codes() -> None:
    nearest, rounded = found("measured").costs, found("measured", "gptq+cd").costs

    assert rounded["w"][2] < nearest["w"][2]
