from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.config import Config
from onnxq.passbase import PlanContext, PlanPass
from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.plan import fitting_passes
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.keep_signal import KeepSignal
from onnxq.passes.plan.narrow_activations import NarrowActivations
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.runtime.compare import Reference
from tests.passes.plan.planning import context_for, plan_for, revised
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir


def lower(model: ir.Model, plan: QuantPlan) -> ir.Model:
    return LowerToQdq(plan)(model).model


def network(outlier: float = 1.0) -> ir.Model:
    """x → Conv c → Sigmoid-gated p → Conv y; the first of six channels of c is ``outlier`` times.

    p has several readers, so it has one scale; y looks at the small channels alone.
    """
    w, v = rng_weight(6, 4, 1, 1), rng_weight(3, 6, 1, 1, seed=1)
    w[0] *= np.float32(outlier)
    v[:, 0] = 0
    return build(
        """f (float[1,4,8,8] x, float[6,4,1,1] w, float[3,6,1,1] v) => (float[1,3,8,8] y) {
            c = Conv(x, w)
            s = Sigmoid(c)
            p = Mul(c, s)
            y = Conv(p, v) }""",
        w=w,
        v=v,
    )


@dataclass
class Replan:
    """Plans anew as the pipeline does, and keeps what it was asked."""

    asked: list[Mapping[str, str]] = field(default_factory=list)

    def __call__(self, context: PlanContext, forced: Mapping[str, str]) -> QuantPlan:
        self.asked.append(forced)
        return plan_for(context, AssignIntegers(forced_float=forced))


def sqnr(context: PlanContext, plan: QuantPlan) -> float:
    reference = Reference(context.model, context.samples(8))
    return min(reference.sqnr(lower(context.model, plan)).values())


def test_rule_1_a_good_plan_stays() -> None:
    context = context_for(network())
    plan, replan = plan_for(context), Replan()
    assert sqnr(context, plan) > 20
    assert revised(KeepSignal(lower, replan), context, plan) is plan
    assert replan.asked == []


@pytest.mark.parametrize(("enough", "asks"), [(-5.0, False), (200.0, True)])
def test_rule_1_enough_is_an_option(enough: float, asks: bool) -> None:
    context = context_for(network(300))
    plan, replan = plan_for(context), Replan()
    result = revised(KeepSignal(lower, replan, enough=enough), context, plan)
    assert (result is not plan) is asks
    assert bool(replan.asked) is asks


def test_rule_2_the_place_where_the_signal_drowns_is_found() -> None:
    context = context_for(network(300))
    plan, replan = plan_for(context), Replan()
    before = sqnr(context, plan)
    assert before < 10
    result = revised(KeepSignal(lower, replan), context, plan)
    (forced,) = replan.asked
    assert {"node_p", "node_y"} <= set(forced)
    assert set(result.float_nodes) >= set(forced)
    assert result.float_nodes["node_p"] == next(iter(forced.values()))
    assert "drown" in next(iter(forced.values()))
    assert sqnr(context, result) > max(20, before + 10)
    note = result.notes[-1]
    assert (note.kind, note.source) == (NoteKind.FIRED, "keep-signal")
    assert note.text.startswith(f"{len(forced)} nodes in float: worst output ")


def test_the_noise_of_few_bits_was_asked_for() -> None:
    context = context_for(network())
    plan = revised(NarrowActivations(4, edges=True), context, plan_for(context))
    for revision in (FitActivations("mse"), FitWeights()):
        plan = revised(revision, context, plan)
    assert sqnr(context, plan) < 20
    assert revised(KeepSignal(lower, Replan()), context, plan) is plan


def test_rule_2_values_of_strong_signal_are_no_places() -> None:
    """Where every channel fills its codes, nothing is tried however bad the outputs are."""
    context = context_for(network())
    plan, replan = plan_for(context), Replan()
    lowered: list[QuantPlan] = []

    def counting(model: ir.Model, tried: QuantPlan) -> ir.Model:
        lowered.append(tried)
        return lower(model, tried)

    strong = KeepSignal(counting, replan, enough=500.0)
    weak = [name for name in "xcspy" if name in plan.values and _signal(context, plan, name) < 30]
    revised(strong, context, plan)
    assert len(lowered) - 1 - len(replan.asked) == len(weak)


def _signal(context: PlanContext, plan: QuantPlan, name: str) -> float:
    """The formula of the module; infinite with a scale per channel."""
    params = plan.values[name].params
    assert params is not None
    assert context.stats is not None
    channels = context.stats[name].channels
    assert channels is not None
    if params.scale.shape:
        return float("inf")
    noise = float(params.scale) ** 2 / 12
    decibels = [max(0.0, 10 * np.log10(power / noise)) for power in channels.second_moment]
    return float(np.mean(decibels))


def test_rule_2_the_fewest_that_bring_enough_are_taken() -> None:
    context = context_for(network(300))
    plan, replan = plan_for(context), Replan()
    result = revised(KeepSignal(lower, replan), context, plan)
    place = result.notes[-1].where
    signals = {n: _signal(context, plan, n) for n in plan.values if n in ("x", "c", "s", "p", "y")}
    assert place == min(signals, key=signals.__getitem__)


def test_rule_3_a_replan_that_gains_nothing_is_refused() -> None:
    context = context_for(network(300))
    plan = plan_for(context)
    result = revised(KeepSignal(lower, lambda _context, _forced: plan), context, plan)
    assert dict(result.values) == dict(plan.values)
    assert result.float_nodes == plan.float_nodes
    assert result.notes[-1].kind is NoteKind.REFUSED
    assert "nodes in float would bring 0.0 dB" in result.notes[-1].text


def test_rule_3_what_a_relu_is_absorbed_into_goes_with_it() -> None:
    w, v = rng_weight(6, 4, 1, 1), rng_weight(3, 6, 1, 1, seed=1)
    w[0] *= np.float32(300)
    v[:, 0] = 0
    source = build(
        """f (float[1,4,8,8] x, float[6,4,1,1] w, float[3,6,1,1] v) => (float[1,3,8,8] y) {
            c = Conv(x, w)
            r = Relu(c)
            p = MaxPool<kernel_shape=[1,1]>(r)
            y = Conv(p, v) }""",
        w=w,
        v=v,
    )
    context = context_for(source)
    plan, replan = plan_for(context), Replan()
    result = revised(KeepSignal(lower, replan), context, plan)
    assert {"node_c", "node_r"} <= set(replan.asked[0])
    assert {"node_c", "node_r"} <= set(result.float_nodes)


def test_the_pipeline_replans_before_it_corrects() -> None:
    """Corrections are those of the plan that stands: an old one's belong to other nodes."""
    context = context_for(network(300))
    passes = fitting_passes(Config(calibration="minmax"), lower)
    plan = revised(AssignIntegers(), context, QuantPlan())
    for one in passes:
        plan = revised(one, context, plan)
    names = [one.name for one in passes]
    assert names.index("keep-signal") < names.index("correct-bias") == len(names) - 1
    assert set(plan.bias_shift) <= {"node_c", "node_y"} - set(plan.float_nodes)
    assert all(value.params is not None for value in plan.values.values())
    assert [n.kind for n in plan.notes if n.source == "keep-signal"][-1] is NoteKind.FIRED
    assert sqnr(context, plan) > 20


@dataclass(frozen=True)
class _Failing(PlanPass):
    name = "failing"

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        del context, plan
        raise ZeroDivisionError


def test_planning_anew_leaves_out_a_pass_of_others_that_fails() -> None:
    context = context_for(network(300))
    names = ("leave-unseen", "fit-activations", "failing", "fit-weights", "keep-signal")
    config = Config.of({"pipeline": {"plan": [{"name": name} for name in names]}})
    plan = revised(AssignIntegers(), context, QuantPlan())
    for one in fitting_passes(config, lower, [_Failing()]):
        if one.name != "failing":
            plan = revised(one, context, plan)
    assert [n.kind for n in plan.notes if n.source == "keep-signal"][-1] is NoteKind.FIRED
    assert all(value.params is not None for value in plan.values.values())
