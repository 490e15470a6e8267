"""From a model to a proven quantized one: the one place that knows the order of stages.

:func:`optimize` reads as the table of contents; each stage is a function of its own below it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.data.calibration import CalibrationData
from onnxq.data.given import given_files
from onnxq.errors import ConfigError, ModelError
from onnxq.finishing import finished, front_of
from onnxq.fitting import Fitting, values_to_observe
from onnxq.graph.choices import Choices, told_choices
from onnxq.graph.io import check_target, pending_model, to_bytes
from onnxq.graph.spec import check_qdq
from onnxq.graph.spec_integer import check_integer
from onnxq.manager import PassManager, silent, teller
from onnxq.numerics.blas import one_blas_thread
from onnxq.passes.lower import lowered, lowering_of
from onnxq.passes.plan import deciding_passes
from onnxq.passes.rewrite import float_rewrites
from onnxq.plan.check import check_plan
from onnxq.plan.plan_file import load_plan
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.target import load_target
from onnxq.registry import chosen_foreign
from onnxq.report.assemble import Proof, Run, assemble, source_size
from onnxq.report.files import check_reports, write_reports
from onnxq.report.gather import Gatherer
from onnxq.report.requirements import require
from onnxq.report.result import Fidelity, Result
from onnxq.report.verify import TASK_PROBES, fidelity, heavy_layers, latency, recognized_task
from onnxq.runtime.observe import observe
from onnxq.runtime.probe import probe_feed
from onnxq.runtime.providers import provider_called
from onnxq.runtime.session import CPU, make_session, run_model
from onnxq.runtime.survey import Survey
from onnxq.selection import repeating
from onnxq.stages import plan_context, read, rewritten
from onnxq.targeting import chosen_target, with_fixed_shapes
from onnxq.tasks.base import Overrides, TaskFidelity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir

    from onnxq.config import Config
    from onnxq.data import DataLike
    from onnxq.foreign import ForeignPasses
    from onnxq.graph.io import ModelSource
    from onnxq.graph.prior import Prior
    from onnxq.manager import Progress
    from onnxq.passbase import PlanContext
    from onnxq.report.front import FrontPoint
    from onnxq.runtime.session import Feed
    from onnxq.tasks.base import Task

__all__ = ["optimize"]

_CHECKS = dict.fromkeys(("qdq", "qoperator", "fp16", "qdq+fp16"), check_qdq)
_CHECKS |= {"integer": check_integer}


@one_blas_thread()
def optimize(
    source: ModelSource,
    data: DataLike | None,
    config: Config,
    progress: Progress | None = None,
    origins: Mapping[str, str] | None = None,
) -> Result:
    """Quantizes a model and proves what came out.

    Args:
        source: The model; never changed.
        data: Calibration samples; None quantizes weights alone.
        config: The options.
        progress: Is told how far each stage has come.
        origins: Option → where it came from, for the report.

    Raises:
        OnnxqError: Something that the user can mend; nothing is written then.
    """
    tell: Progress = progress or silent
    foreign = chosen_foreign(config)
    target = chosen_target(config, with_data=data is not None)
    original, warnings = read(source)
    path = _output_path(source, config)
    _check_output(path, original, source, data)
    size = source_size(source, original)
    check_reports(config, [path, *_protected(source, data)])
    front = front_of(original, config)
    samples = _samples(data, original, config)
    task = _task(original, samples, config)
    as_qdq = partial(lowered, target=target)
    gatherer = Gatherer(source, original, samples, task, config, tell, as_qdq)
    manager = _manager(gatherer, foreign)
    shaped, warnings = with_fixed_shapes(original, samples, target, warnings)
    planned = None if config.plan is None else load_plan(config.plan)
    model, prior = _rewritten(shaped, samples, manager, config, foreign, planned)
    context = plan_context(model, target, samples.probes(), samples.spread, config.cores, prior)
    points: tuple[FrontPoint, ...] = ()
    if planned is not None:
        plan = planned
    else:
        plan = manager.revise(context, deciding_passes(config, with_data=samples.any), QuantPlan())
        if samples.any:
            context = _observed(context, plan, samples, config, tell)
        judge = partial(_judged, original, context, task, samples, config)
        fitting = Fitting(manager, context, plan, task, foreign, size)
        plan, points = fitting.complete(config, judge, tell)
        plan = replace(plan, choices=told_choices(model))
    check_plan(plan, model, target, context.shapes)
    quantized = manager.lower(model, lowering_of(plan, model, target, config.form))
    _CHECKS[config.format](quantized)
    proof = _verify(original, quantized, task, samples, config, tell)
    run = Run(source, original, samples, config, manager.trace, warnings, foreign.packages, data)
    result = assemble(run, context, plan, finished(quantized, front, config), proof, points)
    require(result, config.require)
    evidence = gatherer.evidence(context, plan, quantized)
    result = replace(result, origins=origins or {}, evidence=evidence)
    return _deliver(result, source, path, config)


def _manager(gatherer: Gatherer, foreign: ForeignPasses) -> PassManager:
    """Returns what runs the passes of the run that ``gatherer`` looks at."""
    return PassManager(
        check=gatherer.config.check,
        judged=foreign.names,
        run_model=run_model,
        probes=gatherer.samples.probes() or _made_probes(gatherer.original, foreign),
        progress=gatherer.tell,
        watch=gatherer.watch,
    )


# ---- files ---------------------------------------------------------------------------------------


def _output_path(source: ModelSource, config: Config) -> Path | None:
    if config.output is not None:
        return config.output
    if isinstance(source, str | os.PathLike):
        kind = "mixed" if config.budget or config.minimize else f"int{config.weights}"
        kind = "fp16" if config.format == "fp16" else kind
        return Path(source).with_suffix(f".{kind}.onnx")
    return None


def _check_output(
    path: Path | None, original: ir.Model, source: ModelSource, data: DataLike | None
) -> None:
    """Finds out before the work whether the model can be written."""
    if path is not None:
        check_target(original, path, protect=_protected(source, data))


def _protected(*given: object) -> list[Path]:
    """Returns the files that the user gave, those in folders too: none may be written over."""
    named = [one for one in given if isinstance(one, str | os.PathLike)]
    return [file for one in named for file in given_files(one)]


def _samples(data: DataLike | None, original: ir.Model, config: Config) -> CalibrationData:
    samples = CalibrationData.open(data, original, config)
    if config.chooses_bits and not samples.any:
        raise ConfigError("choosing bits needs samples that tell what they cost; give --data")
    return samples


def _made_probes(original: ir.Model, foreign: ForeignPasses) -> list[Feed]:
    """Returns what to judge rewrites of others on where there is no data."""
    if not foreign.rewrites:
        return []
    try:
        feed = probe_feed(original)
        run_model(original, feed, None)
    except ModelError:
        return []
    return [feed]


# ---- rewrite and plan ----------------------------------------------------------------------------


def _rewritten(  # noqa: PLR0913 (what a run consists of)
    original: ir.Model,
    samples: CalibrationData,
    manager: PassManager,
    config: Config,
    foreign: ForeignPasses,
    planned: QuantPlan | None,
) -> tuple[ir.Model, Prior]:
    """Returns the float model that is quantized, and what BatchNormalization told of its values.

    What rewrites chose by samples for the model that ``planned`` is of is chosen again.
    """
    survey = Survey(samples.spread, config.cores) if samples.any else None
    choices = Choices(planned.choices) if planned is not None and planned.choices else None
    config = config if choices is None else repeating(config, choices.passes)
    prior: Prior = {}
    own = float_rewrites(prior, survey=survey, choices=choices, integer=samples.any, config=config)
    return rewritten(original, manager, config, [*own, *foreign.rewrites], prior), prior


def _observed(
    context: PlanContext, plan: QuantPlan, samples: CalibrationData, config: Config, tell: Progress
) -> PlanContext:
    """Observes what completes the plan."""
    numbers = samples.calibration
    stats = observe(
        context.model,
        samples.feeds(numbers),
        values_to_observe(context, plan, config),
        threads=config.cores,
        progress=teller(tell, "observe", len(numbers)),
        provider=provider_called(config.provider),
    )
    return replace(context, stats=stats)


# ---- verify and deliver --------------------------------------------------------------------------


def _task(original: ir.Model, samples: CalibrationData, config: Config) -> Task:
    """Recognizes early what the outputs mean: what the user says of them may not fit."""
    overrides = Overrides(config.task, config.boxes, config.scores)
    feeds = samples.spread(TASK_PROBES)
    return recognized_task(original, feeds, overrides, threads=config.cores)


def _verify(  # noqa: PLR0913 (two models, and what they are judged by)
    original: ir.Model,
    quantized: ir.Model,
    task: Task,
    samples: CalibrationData,
    config: Config,
    tell: Progress,
) -> Proof:
    """Measures the quantized model against the one that was given, not its rewritten form."""
    if not samples.any:
        make_session(quantized, trial=True)
        return Proof(Fidelity.of(TaskFidelity(), task, 0), None, ())
    told = teller(tell, "verify", len(samples.judges()))
    found = _fidelity(original, quantized, task, samples, config, told)
    feed = next(iter(samples.spread(1)))
    provider = provider_called(config.provider)
    tell("benchmark", 0, 1)
    elsewhere = provider == CPU != load_target(config.target).provider
    times = None if elsewhere else latency(original, quantized, feed, provider)
    proof = Proof(found, times, heavy_layers(quantized, feed))
    tell("benchmark", 1, 1)
    return proof


def _fidelity(  # noqa: PLR0913 (as for verifying)
    original: ir.Model,
    quantized: ir.Model,
    task: Task,
    samples: CalibrationData,
    config: Config,
    progress: Callable[[int], None] | None = None,
) -> Fidelity:
    return fidelity(
        original,
        quantized,
        samples.feeds(samples.judges()),
        task=task,
        threads=config.cores,
        progress=progress,
        provider=provider_called(config.provider),
    )


def _judged(  # noqa: PLR0913 (all but the last are the same for every plan)
    original: ir.Model,
    context: PlanContext,
    task: Task,
    samples: CalibrationData,
    config: Config,
    plan: QuantPlan,
) -> Fidelity:
    """Measures a plan that may be taken."""
    lowering = lowering_of(plan, context.model, context.target, config.form)
    return _fidelity(original, lowering(context.model).model, task, samples, config)


def _deliver(result: Result, source: ModelSource, path: Path | None, config: Config) -> Result:
    """Writes model, plan and reports, all or none."""
    if path is None:
        result = replace(result, size_after=len(to_bytes(result.model)))
        write_reports(result, config)
        return result
    with pending_model(result.model, path, protect=_protected(source)) as pending:
        result = replace(result, path=path, size_after=pending.size)
        write_reports(result, config)
    return result
