"""From a model to a proven quantized one: the one place that knows the order of stages.

:func:`optimize` reads as the table of contents; each stage is a function of its own below it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.config import Config
from onnxq.data.calibration import CalibrationData
from onnxq.errors import ModelError
from onnxq.graph.io import (
    check_target,
    load,
    pending_model,
    quantized_nodes,
    to_bytes,
    unknown_domains,
)
from onnxq.graph.spec import check_float, check_qdq
from onnxq.manager import PassManager
from onnxq.passbase import PlanContext
from onnxq.passes.lower import lowering_of, lowerings
from onnxq.passes.plan import deciding_passes, fitting_passes
from onnxq.passes.rewrite import float_rewrites
from onnxq.passes.rewrite.normalize import normalize_passes, repair_passes
from onnxq.plan.check import check_plan
from onnxq.plan.plan_file import load_plan
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.target import load_target
from onnxq.report.assemble import Proof, Run, assemble, label
from onnxq.report.files import check_reports, write_reports
from onnxq.report.result import Fidelity, Result, require
from onnxq.report.verify import fidelity, heavy_layers, latency
from onnxq.runtime.observe import observe
from onnxq.runtime.session import make_session, run_model
from onnxq.runtime.shapes import observed_shapes
from onnxq.selection import check_names, selected

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnxq.data import DataLike
    from onnxq.graph.io import ModelSource
    from onnxq.manager import Progress
    from onnxq.plan.target import Target

__all__ = ["known_passes", "optimize"]


def optimize(
    source: ModelSource,
    data: DataLike | None,
    config: Config,
    progress: Progress | None = None,
) -> Result:
    """Quantizes a model and proves what came out.

    Args:
        source: The model; never changed.
        data: Calibration samples; None quantizes weights alone.
        config: The options.
        progress: Is told how far each stage has come.

    Raises:
        OnnxqError: Something that the user can mend; nothing is written then.
    """
    tell: Progress = progress or _silent
    check_names(config, [row[0] for row in known_passes()], _optional())
    target = load_target(config.target)
    original = _read(source)
    path = _output_path(source, config)
    if path is not None:
        check_target(original, path, protect=_protected(source, data))
    check_reports(config, [path, *_protected(source, data)])
    samples = CalibrationData.open(data, original, config)
    manager = PassManager(
        check=config.check, run_model=run_model, probes=samples.probes(), progress=tell
    )
    model = _rewrite(original, manager, config)
    context = _context(model, target, samples, config)
    if config.plan is not None:
        plan = load_plan(config.plan)
    else:
        plan = manager.revise(context, deciding_passes(config, with_data=samples.any), QuantPlan())
        if samples.any:
            context = _observed(context, plan, samples, config, tell)
            plan = manager.revise(context, fitting_passes(config, _lowered), plan)
    check_plan(plan, model, target, context.shapes)
    quantized = manager.lower(model, lowering_of(plan, model))
    check_qdq(quantized)
    proof = _verify(original, quantized, samples, config, tell)
    run = Run(source, original, samples, config, manager.trace)
    result = assemble(run, context, plan, quantized, proof)
    return _deliver(result, source, path, config)


def known_passes() -> list[tuple[str, str, str]]:
    """Returns (name, kind, summary) of every pass, in the order in which they run."""
    config = Config()
    passes: list[tuple[str, Any]] = [
        *(("rewrite", p) for p in (*repair_passes(), *normalize_passes(), *float_rewrites())),
        *(("plan", p) for p in deciding_passes(config, with_data=False)),
        *(("plan", p) for p in deciding_passes(config, with_data=True)),
        *(("plan", p) for p in fitting_passes(config, _lowered)),
        *(("lowering", p) for p in lowerings(QuantPlan())),
    ]
    rows = {(p.name, kind): (type(p).__doc__ or "").strip().splitlines()[0] for kind, p in passes}
    return [(name, kind, summary) for (name, kind), summary in rows.items()]


def _optional() -> list[str]:
    """Names of the passes that a result can do without."""
    fitting = [p.name for p in fitting_passes(Config(), _lowered)]
    return [p.name for p in float_rewrites()] + [n for n in fitting if not n.startswith("fit-")]


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


# ---- read ----------------------------------------------------------------------------------------


def _read(source: ModelSource) -> ir.Model:
    """Reads the model and makes sure that it can be run and is not quantized yet."""
    model = load(source)
    if already := quantized_nodes(model):
        raise ModelError(
            f"{label(source)} is quantized already (node {already[0]}); give the float model"
        )
    for domain, operators in unknown_domains(model).items():
        raise ModelError(
            f"{label(source)}: operator {domain}:{operators[0]} is unknown to onnxruntime; export "
            "the model without it"
        )
    _refuse_broken_weights(model, label(source))
    for rewrite in repair_passes():
        rewrite(model)
    try:
        make_session(model, optimize=False)
    except ModelError as error:
        raise ModelError(f"{label(source)}: {error}") from None
    return model


def _refuse_broken_weights(model: ir.Model, name: str) -> None:
    for graph in model.graphs():
        for weight in graph.initializers.values():
            tensor = weight.const_value
            if tensor is None or tensor.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
                continue
            if np.isnan(tensor.numpy()).any():
                raise ModelError(
                    f"{name}: weight '{weight.name}' holds NaN; export the model again"
                )


def _output_path(source: ModelSource, config: Config) -> Path | None:
    if config.output is not None:
        return config.output
    if isinstance(source, str | os.PathLike):
        return Path(source).with_suffix(".int8.onnx")
    return None


def _protected(*given: object) -> list[Path]:
    """Returns the files that the user gave, those in folders too: none may be written over."""
    paths = [Path(one) for one in given if isinstance(one, str | os.PathLike)]
    inside = (file for path in paths if path.is_dir() for file in path.iterdir())
    return [*paths, *inside]


# ---- rewrite and plan ----------------------------------------------------------------------------


def _rewrite(original: ir.Model, manager: PassManager, config: Config) -> ir.Model:
    """Brings the model into the form that quantization knows; its function stays."""
    model = manager.rewrite(original.clone(), normalize_passes(config.opset))
    model = manager.rewrite(model, selected(float_rewrites(), config), to_fixpoint=True)
    check_float(model)
    return model


def _context(
    model: ir.Model, target: Target, samples: CalibrationData, config: Config
) -> PlanContext:
    shapes: dict[str, tuple[int, ...]] = {}
    for feed in samples.probes():
        shapes = observed_shapes(model, feed, threads=config.cores)
    return PlanContext(
        model, target, stats=None, shapes=shapes, samples=samples.spread, threads=config.cores
    )


def _lowered(model: ir.Model, plan: QuantPlan) -> ir.Model:
    return lowering_of(plan, model)(model).model


def _observed(
    context: PlanContext, plan: QuantPlan, samples: CalibrationData, config: Config, tell: Progress
) -> PlanContext:
    """Observes the values that the plan quantizes, and no others."""
    numbers = samples.calibration
    stats = observe(
        context.model,
        samples.feeds(numbers),
        list(plan.values),
        threads=config.cores,
        progress=_teller(tell, "observe", len(numbers)),
    )
    return replace(context, stats=stats)


def _teller(tell: Progress, stage: str, total: int) -> Callable[[int], None]:
    tell(stage, 0, total)
    return lambda done: tell(stage, done, total)


# ---- verify and deliver --------------------------------------------------------------------------


def _verify(
    original: ir.Model,
    quantized: ir.Model,
    samples: CalibrationData,
    config: Config,
    tell: Progress,
) -> Proof:
    """Measures the quantized model against the one that was given, not its rewritten form."""
    if not samples.any:
        make_session(quantized)
        return Proof(Fidelity(), None, ())
    numbers = samples.judges()
    found = fidelity(
        original,
        quantized,
        samples.feeds(numbers),
        threads=config.cores,
        progress=_teller(tell, "verify", len(numbers)),
    )
    feed = next(iter(samples.spread(1)))
    tell("benchmark", 0, 1)
    proof = Proof(found, latency(original, quantized, feed), heavy_layers(quantized, feed))
    tell("benchmark", 1, 1)
    return proof


def _deliver(result: Result, source: ModelSource, path: Path | None, config: Config) -> Result:
    """Writes model, plan and reports, all or none, if the result is what was required."""
    require(result, config.require)
    if path is None:
        result = replace(result, size_after=len(to_bytes(result.model)))
        write_reports(result, config)
        return result
    with pending_model(result.model, path, protect=_protected(source)) as pending:
        result = replace(result, path=path, size_after=pending.size)
        write_reports(result, config)
    return result
