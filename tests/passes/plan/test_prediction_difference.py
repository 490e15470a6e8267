"""Ranges by the prediction difference; the numbered rules of the pass."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.config import Config
from onnxq.passes.lower import lowered, simulated
from onnxq.passes.plan import fitting_passes
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.prediction_difference import FACTORS, PredictionDifference
from onnxq.plan.check import violations
from onnxq.plan.note import NoteKind
from onnxq.search.evaluator import Evaluator
from onnxq.search.sites import without_weights
from onnxq.tasks.loss import GenericLoss
from tests.passes.plan.planning import context_for, plan_for, revised, samples_for
from tests.search.networks import NETWORKS, first_plan, outlying

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan

LOSS = GenericLoss(["y"])


def search(**options: float) -> PredictionDifference:
    return PredictionDifference(
        simulated,
        lambda _model: LOSS,
        lambda factor: FitActivations("mse", factor),
        FitWeights,
        **options,  # type: ignore[arg-type]
    )


@functools.cache
def searched() -> tuple[ir.Model, PlanContext, QuantPlan, QuantPlan]:
    """A network of 4-bit activations, the plan before the search and the one behind it."""
    model = NETWORKS["branches"]()
    context = context_for(model, samples=outlying(model, count=24))
    plan = revised(FitActivations("mse"), context, first_plan(model, 4))
    return model, context, plan, revised(search(margin=0.0), context, plan)


def chosen(plan: QuantPlan) -> list[str]:
    return [n.where for n in plan.notes if n.source == "pd" and n.kind is NoteKind.FIRED]


def test_the_loss_falls_on_both_halves() -> None:
    model, context, plan, found = searched()
    evaluator = Evaluator(model, simulated, list(context.samples(24)), LOSS)

    before, after = evaluator.each([plan, found])

    assert after[::2].mean() < before[::2].mean()
    assert after[1::2].mean() < before[1::2].mean()


def test_ranges_are_those_of_mse_times_a_factor() -> None:
    _, _, plan, found = searched()

    assert chosen(found)
    ratios = []
    for name, value in found.values.items():
        one, other = value.params, plan.values[name].params
        assert one is not None
        assert other is not None
        if one.method == "pd":
            ratios.append(float(one.scale / other.scale))
            assert min(abs(ratios[-1] - factor) for factor in FACTORS) < 0.1
    assert set(ratios) - {1.0}


def test_scales_of_channels_take_the_weights_along() -> None:
    model = NETWORKS["channels"]()
    context = context_for(model, samples=samples_for(model, 24))
    plan = revised(FitActivations("mse", 4.0), context, plan_for(context))
    plan = revised(FitWeights(), context, without_weights(plan, model))

    found = revised(search(margin=0.0), context, plan)

    for name in ("r0", "r1"):
        params = found.values[name].params
        assert params is not None
        assert params.gain is not None
    assert not violations(found, model, context.target, context.shapes)


def test_samples_that_choose_are_corrected_where_moments_are_known() -> None:
    _, context, plan, _ = searched()
    moments = np.zeros(8, np.float32), np.ones(8, np.float32)

    told = revised(search(), replace(context, prior={"c0": moments}), plan).notes

    assert any("distribution of 12 samples" in note.text for note in told)
    assert not any("distribution" in note.text for note in revised(search(), context, plan).notes)


def test_the_correction_can_be_left_out() -> None:
    _, context, plan, _ = searched()
    known = replace(context, prior={"c0": (np.zeros(8, np.float32), np.ones(8, np.float32))})

    found = revised(search(distribution=False), known, plan)

    assert not any("distribution" in note.text for note in found.notes)


@pytest.mark.parametrize(("calibration", "joins"), [("pd", True), ("mse", False)])
def test_runs_where_the_calibration_asks_for_it(calibration: str, joins: bool) -> None:
    passes = fitting_passes(Config(calibration=calibration), lowered, simulate=simulated)

    assert ("pd" in [one.name for one in passes]) is joins
    assert "adaptive-lp" not in [one.name for one in passes]
