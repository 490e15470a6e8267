"""The p of each range by the loss at the outputs; the numbered rules of the pass."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from onnxq.config import Config
from onnxq.passes.lower import lowered, simulated
from onnxq.passes.plan import fitting_passes
from onnxq.passes.plan.adaptive_lp import AdaptiveLp
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.narrow_activations import NarrowActivations
from onnxq.plan.check import violations
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.search.evaluator import Evaluator
from onnxq.search.sites import without_weights
from onnxq.tasks.loss import GenericLoss
from tests.passes.plan.planning import context_for, plan_for, revised
from tests.search.networks import NETWORKS, activations, first_plan, outlying

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.passbase import PlanContext

LOSS = GenericLoss(["y"])


def search(**options: float) -> AdaptiveLp:
    return AdaptiveLp(
        simulated,
        lambda _model: LOSS,
        lambda p: FitActivations(f"lp:{p}"),
        FitWeights,
        **options,  # type: ignore[arg-type]
    )


def skewed(bits: int = 4) -> tuple[ir.Model, PlanContext, QuantPlan]:
    """A network whose samples hold outliers that matter at the outputs."""
    model = NETWORKS["branches"]()
    context = context_for(model, samples=outlying(model, count=24))
    return model, context, revised(FitActivations("mse"), context, first_plan(model, bits))


@functools.cache
def searched() -> tuple[ir.Model, PlanContext, QuantPlan, QuantPlan]:
    """Returns that network, the plan before the search and the one behind it."""
    model, context, plan = skewed()
    return model, context, plan, revised(search(margin=0.0), context, plan)


def fired(plan: QuantPlan) -> list[str]:
    return [n.where for n in plan.notes if n.source == "adaptive-lp" and n.kind is NoteKind.FIRED]


def test_the_loss_falls_on_both_halves() -> None:
    model, context, plan, found = searched()
    evaluator = Evaluator(model, simulated, list(context.samples(24)), LOSS)

    before, after = evaluator.each([plan, found])
    assert fired(found)
    assert after[::2].mean() < before[::2].mean()
    assert after[1::2].mean() < before[1::2].mean()


def test_what_differs_says_what_chose_it() -> None:
    _, _, plan, found = searched()

    changed = [name for name in plan.values if found.values[name] is not plan.values[name]]
    assert changed
    assert {one for name in changed for one in plan.group_of(name)} <= set(changed)
    for name in changed:
        params = found.values[name].params
        assert found.values[name].spec == plan.values[name].spec
        assert params is not None
        assert params.method == "adaptive-lp"
        assert params.gain is not None
        assert params.gain > 0
    assert any(found.values[name].params.p != 2 for name in changed)  # type: ignore[union-attr]


def test_weights_are_chosen_too_where_it_says_so() -> None:
    model = NETWORKS["channels"]()
    context = context_for(model, samples=outlying(model, count=24))
    plan = revised(AssignIntegers(weight_bits=3), context, QuantPlan())
    plan = revised(FitWeights(), context, revised(FitActivations(), context, plan))

    found = revised(search(margin=0.0, weights=True), context, plan)

    chosen = [name for name in fired(found) if name in model.graph.initializers]
    assert chosen
    for name in chosen:
        params = found.values[name].params
        assert params is not None
        assert params.method == "adaptive-lp"
        assert params.gain is not None
        assert params.gain > 0
    assert not violations(found, model, context.target, context.shapes)


def test_weights_that_are_rounded_behind_keep_their_bits_and_fit_the_ranges() -> None:
    model = NETWORKS["channels"]()
    context = context_for(model, samples=outlying(model, count=24))
    plan = revised(AssignIntegers(weight_bits=3), context, QuantPlan())
    plan = revised(NarrowActivations(4), context, plan)
    plan = revised(FitWeights(), context, revised(FitActivations("mse"), context, plan))

    found = revised(search(margin=0.0, rounded=True), context, plan)

    assert fired(found)
    again = revised(FitWeights(), context, without_weights(found, model))
    for name in model.graph.initializers:
        if name in plan.values:
            assert found.values[name].spec == plan.values[name].spec
            assert found.values[name].params.same_as(again.values[name].params)  # type: ignore[union-attr, arg-type]
    assert not violations(found, model, context.target, context.shapes)


def test_it_tells_how_far_it_has_come() -> None:
    _, context, plan = skewed()
    told: list[tuple[str, int, int]] = []

    revised(search(margin=0.0), replace(context, progress=lambda *what: told.append(what)), plan)

    assert told[0][:2] == ("adaptive-lp", 0)
    assert told[-1][1] == told[-1][2] > 0


def test_what_brings_less_than_the_margin_is_left() -> None:
    _, context, plan = skewed()

    found = revised(search(margin=0.99), context, plan)

    assert not fired(found)
    assert found.values == plan.values


def test_values_that_share_params_are_chosen_together() -> None:
    model = NETWORKS["branches"]()
    context = context_for(model)
    plan = plan_for(context, method="mse")
    group = frozenset(activations(model, plan)[:2])
    plan = replace(plan, groups=(group,))
    plan = revised(FitActivations("mse"), context, plan)

    found = revised(search(margin=0.0), context, plan)

    scales = {float(found.values[name].params.scale) for name in group}  # type: ignore[union-attr]
    assert len(scales) == 1


def test_one_sample_is_too_few() -> None:
    _, context, plan = skewed()
    alone = replace(context, samples=lambda _count: list(context.samples(1)))

    found = revised(search(), alone, plan)

    assert found.values == plan.values
    assert [note.kind for note in found.notes if note.source == "adaptive-lp"] == [NoteKind.REFUSED]


def test_the_same_again_gives_the_same_plan() -> None:
    _, context, plan, first = searched()

    second = revised(search(margin=0.0), context, plan)

    for name in plan.values:
        mine, other = first.values[name].params, second.values[name].params
        assert mine is not None
        assert other is not None
        assert mine.same_as(other)


@pytest.mark.parametrize(("calibration", "joins"), [("adaptive-lp", True), ("mse", False)])
def test_runs_where_the_calibration_asks_for_it(calibration: str, joins: bool) -> None:
    passes = fitting_passes(Config(calibration=calibration), lowered, simulate=simulated)

    assert ("adaptive-lp" in [one.name for one in passes]) is joins


@pytest.mark.parametrize(
    ("options", "method", "start"),
    [
        ({"calibration": "adaptive-lp"}, "mse", 2.0),
        ({"calibration": "adaptive-lp", "activations": 4}, "lp:2.5", 2.5),
        ({"calibration": "lp:3", "passes": ("+adaptive-lp",)}, "lp:3", 3.0),
    ],
)
def test_starts_from_the_ranges_that_the_plan_has(
    options: dict[str, Any], method: str, start: float
) -> None:
    passes = {one.name: one for one in fitting_passes(Config(**options), lowered)}
    ranges, found = passes["fit-activations"], passes["adaptive-lp"]
    assert isinstance(ranges, FitActivations)
    assert isinstance(found, AdaptiveLp)
    assert (ranges.method, found.start) == (method, start)


@pytest.mark.parametrize(("start", "label"), [(2.5, "p 2.5 →"), (2.2, "p 2 →")])
def test_choices_are_told_from_the_p_that_it_starts_with(start: float, label: str) -> None:
    _, context, plan = skewed()
    plan = revised(FitActivations(f"lp:{start}"), context, plan)
    found = revised(search(margin=0.0, start=start), context, plan)
    notes = [n for n in found.notes if n.source == "adaptive-lp" and n.kind is NoteKind.FIRED]
    assert notes
    assert label in notes[0].text


def test_a_pipeline_file_names_the_pass_and_not_a_method() -> None:
    assert FitActivations.options["method"].read("adaptive-lp") is None
