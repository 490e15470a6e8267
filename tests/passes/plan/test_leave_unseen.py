from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.leave_unseen import LeaveUnseen
from onnxq.plan.quant_plan import QuantPlan
from tests.passes.plan.planning import context_for, hand_context, revised, stats_of
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.passbase import PlanContext

REASON = "no calibration sample has a single number here"


def chain() -> ir.Model:
    return build(
        """f (float[1,4,8,8] x, float[6,4,1,1] w, float[6,6,1,1] v, float[3,6,1,1] u)
        => (float[1,3,8,8] y) { c = Conv(x, w) r = Relu(c) d = Conv(r, v) y = Conv(d, u) }""",
        w=rng_weight(6, 4, 1, 1), v=rng_weight(6, 6, 1, 1), u=rng_weight(3, 6, 1, 1),
    )  # fmt: skip


def decide(context: PlanContext, forced: Mapping[str, str]) -> QuantPlan:
    return AssignIntegers(forced_float=forced).revise(context, QuantPlan())


def left(source: ir.Model, *seen: str, forced: Mapping[str, str] | None = None) -> QuantPlan:
    """The plan where ``seen`` are the values that have statistics."""
    stats = {name: stats_of(np.ones((1, 4, 2, 2)), 1) for name in seen}
    context = hand_context(source, stats)
    return revised(LeaveUnseen(decide), context, decide(context, forced or {}))


def test_a_plan_whose_values_are_all_seen_stays() -> None:
    context = context_for(chain())
    plan = decide(context, {})
    assert LeaveUnseen(decide).revise(context, plan) is plan


def test_the_nodes_around_an_unseen_value_are_float() -> None:
    plan = left(chain(), "x", "r", "d")
    assert plan.float_nodes == {"node_y": REASON}
    assert set(plan.values) == {"x", "r", "d", "w", "v"}


def test_what_vanishes_into_an_unseen_value_is_float_too() -> None:
    plan = left(chain(), "x", "d", "y")
    assert set(plan.float_nodes) == {"node_c", "node_r", "node_d"}
    assert set(plan.values) == {"d", "y", "u"}


def test_reasons_from_before_stay() -> None:
    plan = left(chain(), "x", "r", "d", forced={"node_c": "because"})
    assert plan.float_nodes["node_c"] == "because"
    assert plan.float_nodes["node_y"] == REASON


def test_nothing_seen_leaves_nothing_planned() -> None:
    assert not left(chain()).values


def test_values_that_are_planned_only_now_are_looked_at_too() -> None:
    calls: list[Mapping[str, str]] = []

    def other(context: PlanContext, forced: Mapping[str, str]) -> QuantPlan:
        calls.append(forced)
        return decide(context, {"node_y": "first"} if len(calls) == 1 else forced)

    source = chain()
    context = hand_context(source, {"x": stats_of(np.ones((1, 4, 2, 2)), 1)})
    plan = LeaveUnseen(other).revise(context, decide(context, {}))
    assert len(calls) == 2
    assert not plan.values
