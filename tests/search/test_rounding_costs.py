from __future__ import annotations

import numpy as np
import pytest

from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, QParams, QuantSpec
from onnxq.runtime.session import make_session
from onnxq.search.rounding_costs import rounding_costs
from tests.search.exact_curvature import LOSS, batches, exact, network


def plan_of(*names: str, scale: float = 0.1) -> QuantPlan:
    spec = QuantSpec(IntType(8, signed=False), symmetric=False)
    params = QParams(np.asarray(scale, np.float32), np.asarray(0, np.int32))
    return QuantPlan(values=dict.fromkeys(names, ValuePlan(spec, params)))


def test_what_rounding_an_activation_costs() -> None:
    model, feeds = network(), batches(60)

    found = rounding_costs(model, LOSS, feeds, plan_of("a3"))

    session = make_session(model, outputs=["a3"])
    wanted = []
    for feed in feeds[:4]:
        held = session.run(feed)["a3"].reshape(-1).astype(np.float64)
        change = np.clip(np.rint(held / 0.1), 0, 255) * 0.1 - held
        wanted.append(change @ exact(network(), [feed], ["a3"])["a3"] @ change / 2)
    assert found["a3"] == pytest.approx(np.mean(wanted), rel=0.4)


def test_finer_scales_cost_less_and_inputs_are_no_matter() -> None:
    coarse, fine = (
        rounding_costs(network(), LOSS, batches(2), plan_of("x", "a3", "a6", scale=scale))
        for scale in (0.4, 0.05)
    )
    assert set(coarse) == {"a3", "a6"}
    assert all(fine[name] < 0.2 * coarse[name] for name in coarse)


def test_measured_costs_are_those_of_the_model_that_goes_on_from_the_rounded_value() -> None:
    feeds, plan = batches(3), plan_of("a3", "a6", scale=0.05)

    curved = rounding_costs(network(), LOSS, feeds * 30, plan)
    found = rounding_costs(network(), LOSS, feeds, plan, measured=True)

    assert set(found) == {"a3", "a6"}
    for name in found:
        assert found[name] == pytest.approx(curved[name], rel=0.4)


def test_what_the_loss_looks_at_may_be_rounded_itself() -> None:
    (output,) = LOSS.values
    feeds, plan = batches(2), plan_of(output, scale=0.5)
    session = make_session(network(), outputs=[output])

    found = rounding_costs(network(), LOSS, feeds, plan, measured=True)

    wanted = [session.run(feed) for feed in feeds]
    rounded = [np.clip(np.rint(one[output] / 0.5), 0, 255) * 0.5 for one in wanted]
    losses = [LOSS.measure(w, {output: r}) for w, r in zip(wanted, rounded, strict=True)]
    assert found[output] == pytest.approx(np.mean(losses), rel=1e-6)


def test_nothing_to_round() -> None:
    assert rounding_costs(network(), LOSS, batches(1), QuantPlan()) == {}
