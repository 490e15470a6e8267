"""Plan passes: each returns a new plan and never edits the model."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

from onnxq.calibration_method import AUTO
from onnxq.passes.plan.adaptive_lp import AdaptiveLp
from onnxq.passes.plan.allocate_bits import AllocateBits
from onnxq.passes.plan.assign_half import AssignHalf
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.correct_bias import CorrectBias
from onnxq.passes.plan.correct_bias_analytic import CorrectBiasAnalytic
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.keep_signal import KeepSignal
from onnxq.passes.plan.leave_unseen import LeaveUnseen
from onnxq.passes.plan.narrow_activations import NarrowActivations
from onnxq.passes.plan.prediction_difference import PredictionDifference
from onnxq.passes.plan.reconstruct_blocks import ReconstructBlocks
from onnxq.passes.plan.round_weights import RoundWeights
from onnxq.passes.plan.share_params import ShareParams
from onnxq.passes.plan.split_outliers import SplitOutliers
from onnxq.passes.plan.store_weights import StoreWeights
from onnxq.passes.plan.weight_only import QuantizeWeightsOnly
from onnxq.passes.plan.widen_activations import WidenActivations
from onnxq.passes.plan.widen_weights import WidenWeights
from onnxq.plan.quant_plan import QuantPlan
from onnxq.revising import guarded
from onnxq.search.bit_search import BitSearch
from onnxq.selection import arranged, may_run
from onnxq.tasks.base import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx_ir as ir

    from onnxq.config import Config
    from onnxq.numerics.range_search import FittedRange
    from onnxq.passbase import PlanContext, PlanPass
    from onnxq.search.simulation import Simulate
    from onnxq.tasks.loss import OutputLoss

__all__ = [
    "NEEDED",
    "dataless_passes",
    "deciding_passes",
    "fitting_passes",
    "half_passes",
    "needed_passes",
]

_EIGHT = 8
_SQUARES = 2.0
NEEDED = frozenset({LeaveUnseen.name, FitActivations.name, FitWeights.name})
"""Names of the fitting passes that nothing works without."""


def needed_passes(config: Config) -> frozenset[str]:
    """Returns :data:`NEEDED` and the names of what other options cannot do without."""
    asked = {
        NarrowActivations.name: config.activations < _EIGHT,
        AllocateBits.name: config.chooses_bits,
        ReconstructBlocks.name: config.rounds_blocks,
    }
    searched = _search(config) if config.calibration is not None else frozenset()
    return NEEDED | searched | {name for name, needed in asked.items() if needed}


def _wished_passes(config: Config) -> frozenset[str]:
    """Returns the names of passes on request that other options ask for."""
    stored = frozenset({StoreWeights.name} if config.weights < _EIGHT else ())
    return needed_passes(config) | _search(config) | stored


def _search(config: Config) -> frozenset[str]:
    """Returns the name of the pass that the method of calibration is, if it is one."""
    method = config.calibration_method
    return frozenset({method.name} if method.searches and method.name != AUTO else ())


def _start(config: Config) -> str:
    """Returns the method of the ranges that a search starts from, or that there is no search."""
    method = config.calibration_method
    if not method.searches:
        return config.calibration_text
    return "mse" if method.p == _SQUARES else f"lp:{method.p:g}"


def _searches(
    config: Config,
    simulate: Simulate | None,
    at_outputs: Callable[[ir.Model], OutputLoss],
    correct: PlanPass,
) -> list[PlanPass]:
    """Returns the passes that choose params by the loss at the outputs.

    Weights whose codes are chosen by their layers' outputs get scales with them. Biases are
    corrected meanwhile as ``correct`` will do it behind, if it may.
    """
    corrected = correct if may_run(config, correct.name) else None
    rounded = config.rounding != "nearest"
    ranges: dict[tuple[object, ...], FittedRange] = {}
    return [
        AdaptiveLp(
            simulate,
            at_outputs,
            lambda p: FitActivations(f"lp:{p}"),
            FitWeights,
            start=config.calibration_method.p or _SQUARES,
            weights=(config.weights < _EIGHT or bool(config.budget)) and not rounded,
            rounded=rounded,
            correct=corrected,
        ),
        PredictionDifference(
            simulate,
            at_outputs,
            lambda factor: FitActivations(_start(config), factor, ranges),
            FitWeights,
            rounded=rounded,
            correct=corrected,
        ),
    ]


def _rounding(
    config: Config,
    lower: Callable[[ir.Model, QuantPlan], ir.Model],
    simulate: Simulate | None,
    at_outputs: Callable[[ir.Model], OutputLoss],
) -> list[PlanPass]:
    """Returns the passes that choose weights' codes by what comes out, of layers and of blocks."""
    layers = RoundWeights(lower, config.layer_rounding, codebook=config.codebooks)
    method = "flexround" if config.rounding == "flexround" else "adaround"
    return [layers, ReconstructBlocks(simulate, at_outputs, layers.round_layers, method)]


def deciding_passes(
    config: Config, *, with_data: bool, forced_float: Mapping[str, str] | None = None
) -> list[PlanPass]:
    """Returns the passes that decide what runs on integers; they need no statistics.

    Args:
        config: The options.
        with_data: Whether activations can be quantized.
        forced_float: Node name → reason, for nodes that stay float whatever they cost.
    """
    per_channel = config.weight_granularity == "channel"
    if config.format == "fp16":
        return []
    if not with_data:
        return [QuantizeWeightsOnly(config.keep_float, per_channel, config.weights)]
    return [AssignIntegers(config.keep_float, forced_float or {}, per_channel, config.weights)]


def half_passes(config: Config) -> list[PlanPass]:
    """Returns the passes that choose what computes in half precision, where that is asked for."""
    return [AssignHalf(config.keep_float)] if "fp16" in config.format else []


def dataless_passes(config: Config) -> list[PlanPass]:
    """Returns the passes that choose corrections where there is no data."""
    passes: list[PlanPass] = [CorrectBiasAnalytic()]
    return [p for p in passes if may_run(config, p.name)]


def _decided(config: Config, context: PlanContext, forced: Mapping[str, str]) -> QuantPlan:
    """Returns the first plan, in which the named nodes stay float, for the reasons given."""
    plan = QuantPlan()
    for revision in deciding_passes(config, with_data=True, forced_float=forced):
        plan = revision.revise(context, plan)
    return plan


def _refitted(passes: Sequence[PlanPass], context: PlanContext, plan: QuantPlan) -> QuantPlan:
    """Returns ``plan`` with params for other bits; ranges with channels taken out stay."""
    again = {FitWeights.name} if plan.clusters else {FitActivations.name, FitWeights.name}
    for revision in passes:
        plan = revision.revise(context, plan) if revision.name in again else plan
    return plan


def fitting_passes(  # noqa: PLR0913 (all but two are named at the call)
    config: Config,
    lower: Callable[[ir.Model, QuantPlan], ir.Model],
    foreign: Sequence[PlanPass] = (),
    *,
    every: bool = False,
    simulate: Simulate | None = None,
    at_outputs: Callable[[ir.Model], OutputLoss] = Task.loss,
    float_bytes: int = 0,
) -> list[PlanPass]:
    """Returns the passes that choose params and corrections, in their order.

    Args:
        config: The options.
        lower: Makes the quantized model of a plan, for passes that measure it.
        foreign: Passes of other packages, which come last unless the options say otherwise.
        every: Whether to return all there are, whatever the options say.
        simulate: Makes the quantized model of a plan for a search; None = nothing is searched.
        at_outputs: Makes the loss that a search minimizes.
        float_bytes: Of the float model's file, for budgets that are shares of it.
    """
    decide = functools.partial(_decided, config)

    def replan(context: PlanContext, forced: Mapping[str, str]) -> QuantPlan:
        plan = decide(context, forced)
        for revision in itertools.takewhile(lambda p: p.name != KeepSignal.name, passes):
            if revision.name in {p.name for p in foreign}:
                plan = guarded(revision, context, plan).plan
            else:
                plan = revision.revise(context, plan)
        return plan

    bits = BitSearch(
        at_outputs, lambda *at: _refitted(passes, *at), lower, replan, float_bytes, config
    )
    ranges = FitActivations(_start(config))
    passes: list[PlanPass] = [
        LeaveUnseen(decide),
        ShareParams(),
        NarrowActivations(config.activations),
        WidenActivations(at_outputs, ranges),
        WidenWeights(at_outputs),
        ranges,
        SplitOutliers(),
        FitWeights(),
        KeepSignal(lower, replan),
        AllocateBits(config.budget, functools.cache(bits.front), config.sensitivity),
        StoreWeights(config.keep_float, config.weight_granularity == "channel"),
        *_searches(config, simulate, at_outputs, CorrectBias(lower, means={})),
        *_rounding(config, lower, simulate, at_outputs),
        CorrectBiasAnalytic(),
        CorrectBias(lower),
        *foreign,
    ]
    if config.format == "integer":  # islands of float have no place between integers
        passes = [p for p in passes if p.name != KeepSignal.name]
    if not every:
        needed, wished = needed_passes(config), _wished_passes(config)
        passes = arranged("plan", passes, config, needed=needed, wished=wished)
    return passes
