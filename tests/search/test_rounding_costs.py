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


def test_nothing_to_round() -> None:
    assert rounding_costs(network(), LOSS, batches(1), QuantPlan()) == {}
