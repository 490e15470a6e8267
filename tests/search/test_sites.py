"""Where a search has a choice, and what comes along with it."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.lower import lowered, simulated
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.plan.check import violations
from onnxq.runtime.session import make_session
from onnxq.search.evaluator import Evaluator
from onnxq.search.sites import (
    Fit,
    activation_sites,
    weight_sites,
    widened,
    with_ranges,
    without_weights,
)
from onnxq.tasks.loss import GenericLoss
from tests.passes.plan.planning import context_for, plan_for, revised, samples_for
from tests.search.networks import NETWORKS

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.search.greedy import Site

STRETCHES = (0.7, 1.0, 1.2)


@functools.cache
def planned(name: str) -> tuple[ir.Model, PlanContext, QuantPlan]:
    model = NETWORKS[name]()
    context = context_for(model)
    return model, context, plan_for(context, method="mse")


@functools.cache
def fits(name: str) -> list[Fit]:
    model, context, plan = planned(name)
    found = []
    for stretch in STRETCHES:
        fitted = revised(FitActivations("mse", stretch), context, plan)
        fit = revised(FitWeights(), context, without_weights(fitted, model))
        found.append(Fit(f"× {stretch:g}", fit))
    return found


@functools.cache
def ranges(name: str) -> list[Site]:
    model, _, plan = planned(name)
    return activation_sites(model, plan, fits(name), 1)


@functools.cache
def weights(name: str) -> list[Site]:
    model, context, plan = planned(name)
    bare = without_weights(plan, model)
    found = [Fit(str(p), revised(FitWeights(p), context, bare)) for p in (1.0, 2.0, None)]
    return weight_sites(model, plan, found, {8: 2})


def test_sites_are_in_graph_order_and_hold_what_shares_params() -> None:
    model, _, plan = planned("branches")
    names = [str(value.name) for node in model.graph for value in node.outputs]
    found = [one for site in ranges("branches") for one in site.names if one in names]

    heads = [names.index(site.names[-1]) for site in ranges("branches") if site.names[-1] in names]
    assert heads == sorted(heads)
    assert len(found) == len(set(found))
    for site in ranges("branches"):
        assert set(site.names) == plan.group_of(site.names[0]) & plan.values.keys()


def test_ranges_that_are_given_are_no_sites() -> None:
    assert "s2" not in [name for site in ranges("branches") for name in site.names]


def test_weights_take_over_the_factors_of_channels() -> None:
    by_name = {site.names[0]: site for site in ranges("channels")}

    for at in range(len(STRETCHES)):
        assert set(by_name["r0"].options[at]) == {"r0", "w1"}
        assert set(by_name["r1"].options[at]) == {"r1", "w2"}


def test_what_was_chosen_can_be_taken_back() -> None:
    """So an option holds what comes along even where it is what the plan began with."""
    model, context, plan = planned("channels")
    for site in ranges("channels"):
        moved = plan.with_values(site.options[0])
        back = replace(site, start=0).candidates(moved)[site.start]
        assert not violations(back, model, context.target, context.shapes)


@pytest.mark.parametrize("name", ["branches", "channels"])
def test_every_option_fits_and_is_measured_as_written(name: str) -> None:
    model, context, plan = planned(name)
    loss, feeds = GenericLoss(["y"]), samples_for(model, 2)
    evaluator = Evaluator(model, simulated, feeds, loss, segments=3)
    wanted = [make_session(model).run(feed) for feed in feeds]

    for site in [*ranges(name)[1:3], *weights(name)[:2]]:
        for candidate in site.candidates(plan)[::2]:
            assert not violations(candidate, model, context.target, context.shapes)
            written = make_session(lowered(model, candidate))
            found = [
                loss.measure(*pair) for pair in zip(wanted, map(written.run, feeds), strict=True)
            ]
            np.testing.assert_array_equal(evaluator.each([candidate])[0], found)


def test_weights_of_layers_on_integers_are_sites() -> None:
    model, _, plan = planned("channels")

    assert [site.names for site in weights("channels")] == [("w0",), ("w1",), ("w2",)]
    assert not weight_sites(model, plan, [Fit("", plan)] * 2, {8: 0})


def test_a_small_range_raises_the_scale_of_a_weight_for_the_bias() -> None:
    """Else the int32 code of the bias would leave half of its range."""
    model, context, plan = planned("channels")
    tiny = revised(FitActivations("mse", stretch=1e-9), context, plan)
    fit = revised(FitWeights(), context, without_weights(tiny, model))

    (site,) = (
        s
        for s in activation_sites(model, plan, [Fit("", plan), Fit("", fit)], 0)
        if s.names == ("x",)
    )

    raised, before = site.options[1]["w0"].params, plan.values["w0"].params
    assert raised is not None
    assert before is not None
    assert (raised.scale > before.scale).any()


def test_weights_have_full_width_where_they_are_rounded_behind() -> None:
    model = NETWORKS["channels"]()
    context = context_for(model)
    plan = plan_for(context, AssignIntegers(weight_bits=3), method="mse")
    wide = widened(context, plan, FitWeights())

    weights = [name for name in plan.values if name in model.graph.initializers]
    assert {wide.values[name].spec.dtype.bits for name in weights} == {8}
    assert all(wide.values[name].params is not None for name in weights)

    shifted = wide.with_values(ranges("channels")[1].options[0])
    found = with_ranges(context, plan, shifted, FitWeights())
    for name, value in found.values.items():
        assert value.spec == plan.values[name].spec
        assert name in weights or value is shifted.values[name]
    assert not violations(found, model, context.target, context.shapes)
    assert widened(context, planned("channels")[2], FitWeights()) is planned("channels")[2]
