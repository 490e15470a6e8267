"""From a model to a proven quantized one: the one place that knows the order of stages.

:func:`optimize` reads as the table of contents; each stage is a function of its own below it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxq.config import Config
from onnxq.data import choose_samples, load_preprocess, open_source, split_holdout
from onnxq.errors import ModelError
from onnxq.data.model_inputs import input_specs
from onnxq.graph.io import check_target, load, quantized_nodes, save, to_bytes
from onnxq.graph.query import macs
from onnxq.graph.spec import check_float, check_qdq
from onnxq.manager import PassManager
from onnxq.passbase import PlanContext
from onnxq.passes.lower import lowering_of
from onnxq.passes.plan import deciding_passes, fitting_passes
from onnxq.passes.rewrite import float_rewrites
from onnxq.passes.rewrite.normalize import normalize_passes, repair_passes
from onnxq.plan.check import check_plan
from onnxq.plan.plan_file import load_plan, save_plan
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.target import load_target
from onnxq.report.files import write_reports
from onnxq.report.result import Fidelity, FloatNode, Result, TraceRow, require
from onnxq.report.verify import fidelity, heavy_layers, latency
from onnxq.report.versions import versions
from onnxq.runtime.observe import observe
from onnxq.runtime.session import make_session, run_model
from onnxq.selection import selected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from onnxq.data import DataLike, DataSource
    from onnxq.graph.io import ModelSource
    from onnxq.manager import Progress
    from onnxq.numerics.statistics import Stats
    from onnxq.plan.target import Target
    from onnxq.report.result import HeavyLayer, Latency

    Feed = Mapping[str, npt.NDArray[Any]]

__all__ = ["known_passes", "optimize"]

logger = logging.getLogger(__name__)


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
    target = load_target(config.target)
    original = _read(source)
    path = _output_path(source, config)
    if path is not None:
        check_target(original, path, protect=_protected(source))
    samples = _Samples.open(data, original, config)
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
    quantized = manager.lower(model, lowering_of(plan, with_data=samples.any))
    check_qdq(quantized)
    proof = _verify(original, quantized, samples, config, tell)
    result = _result(source, original, quantized, plan, proof, context, manager, samples, config)
    return _deliver(result, source, path, config)


def known_passes() -> list[tuple[str, str, str]]:
    """Returns (name, kind, summary) of every pass, in the order in which they run."""
    config = Config()
    passes: list[tuple[str, Any]] = [
        *(("rewrite", p) for p in (*repair_passes(), *normalize_passes(), *float_rewrites())),
        *(("plan", p) for p in deciding_passes(config, with_data=False)),
        *(("plan", p) for p in deciding_passes(config, with_data=True)),
        *(("plan", p) for p in fitting_passes(config, _lowered)),
        *(("lowering", lowering_of(QuantPlan(), with_data=has)) for has in (False, True)),
    ]
    rows = {(p.name, kind): (type(p).__doc__ or "").strip().splitlines()[0] for kind, p in passes}
    return [(name, kind, summary) for (name, kind), summary in rows.items()]


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


# ---- read ----------------------------------------------------------------------------------------


def _read(source: ModelSource) -> ir.Model:
    """Reads the model and makes sure that it can be run and is not quantized yet."""
    model = load(source)
    if already := quantized_nodes(model):
        raise ModelError(
            f"{_label(source)} is quantized already (node {already[0]}); give the float model"
        )
    for rewrite in repair_passes():
        rewrite(model)
    make_session(model, optimize=False)
    return model


def _label(source: ModelSource) -> str:
    return Path(source).name if isinstance(source, str | os.PathLike) else "the model"


def _output_path(source: ModelSource, config: Config) -> Path | None:
    if config.output is not None:
        return config.output
    if isinstance(source, str | os.PathLike):
        return Path(source).with_suffix(".int8.onnx")
    return None


def _protected(source: ModelSource) -> list[Path]:
    return [Path(source)] if isinstance(source, str | os.PathLike) else []


@dataclass(frozen=True)
class _Samples:
    """The calibration data, split into a part to learn from and a part to judge by.

    Attributes:
        source: Where samples come from; None = no data.
        calibration: Numbers of the samples that ranges are fitted on.
        held_out: Numbers of the samples that the result is judged by.
    """

    source: DataSource | None
    calibration: tuple[int, ...] = ()
    held_out: tuple[int, ...] = ()

    @classmethod
    def open(cls, data: DataLike | None, model: ir.Model, config: Config) -> _Samples:
        preprocess = None if config.preprocess is None else load_preprocess(config.preprocess)
        if data is None:
            return cls(None)
        source = open_source(data, input_specs(model), preprocess)
        chosen = choose_samples(len(source), config.samples or len(source), config.seed)
        calibration, held_out = split_holdout(chosen, config.seed)
        return cls(source, tuple(calibration), tuple(held_out))

    @property
    def any(self) -> bool:
        return self.source is not None

    def feeds(self, numbers: Sequence[int]) -> Iterator[Feed]:
        return iter(()) if self.source is None else self.source.feeds(numbers)

    def spread(self, count: int) -> Iterator[Feed]:
        """Yields at most ``count`` calibration samples, evenly spread."""
        total = len(self.calibration)
        count = min(count, total)
        return self.feeds([self.calibration[i * total // count] for i in range(count)])

    def probes(self) -> list[Feed]:
        return list(self.spread(1)) if self.calibration else []

    def judges(self) -> tuple[int, ...]:
        return self.held_out or self.calibration


# ---- rewrite and plan ----------------------------------------------------------------------------


def _rewrite(original: ir.Model, manager: PassManager, config: Config) -> ir.Model:
    """Brings the model into the form that quantization knows; its function stays."""
    model = manager.rewrite(original.clone(), normalize_passes(config.opset))
    passes = selected(float_rewrites(), config, known=[row[0] for row in known_passes()])
    model = manager.rewrite(model, passes, to_fixpoint=True)
    check_float(model)
    return model


def _context(model: ir.Model, target: Target, samples: _Samples, config: Config) -> PlanContext:
    shapes: dict[str, tuple[int, ...]] = {}
    for feed in samples.probes():
        names = [str(out.name) for node in model.graph for out in node.outputs]
        arrays = {**run_model(model, feed, names, threads=config.cores), **feed}
        shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    return PlanContext(
        model, target, stats=None, shapes=shapes, samples=samples.spread, threads=config.cores
    )


def _lowered(model: ir.Model, plan: QuantPlan) -> ir.Model:
    return lowering_of(plan, with_data=True)(model).model


def _observed(
    context: PlanContext, plan: QuantPlan, samples: _Samples, config: Config, tell: Progress
) -> PlanContext:
    """Observes the values that the plan quantizes, and no others."""
    numbers = samples.calibration
    stats: Stats = observe(
        context.model,
        samples.feeds(numbers),
        list(plan.values),
        threads=config.cores,
        progress=_teller(tell, "observe", len(numbers)),
    )
    return PlanContext(
        context.model, context.target, stats, context.shapes, context.samples, context.threads
    )


def _teller(tell: Progress, stage: str, total: int) -> Callable[[int], None]:
    tell(stage, 0, total)
    return lambda done: tell(stage, done, total)


# ---- verify and deliver --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Proof:
    fidelity: Fidelity
    latency: Latency | None
    heavy: tuple[HeavyLayer, ...]


def _verify(
    original: ir.Model, quantized: ir.Model, samples: _Samples, config: Config, tell: Progress
) -> _Proof:
    """Measures the quantized model against the one that was given, not its rewritten form."""
    if not samples.any:
        make_session(quantized)
        return _Proof(Fidelity(), None, ())
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
    proof = _Proof(found, latency(original, quantized, feed), heavy_layers(quantized, feed))
    tell("benchmark", 1, 1)
    return proof


def _result(  # noqa: PLR0913 - everything comes together here
    source: ModelSource,
    original: ir.Model,
    quantized: ir.Model,
    plan: QuantPlan,
    proof: _Proof,
    context: PlanContext,
    manager: PassManager,
    samples: _Samples,
    config: Config,
) -> Result:
    total = sum(layer.macs for layer in proof.heavy)
    integer = sum(layer.macs for layer in proof.heavy if layer.integer)
    stayed = [
        FloatNode(
            str(n.name), n.op_type, macs(n, context.shapes) or 0, plan.float_nodes[str(n.name)]
        )
        for n in context.model.graph
        if str(n.name) in plan.float_nodes
    ]
    return Result(
        model=quantized,
        plan=plan,
        source=_label(source),
        size_before=_size(source, original),
        size_after=_weight_size(quantized),
        latency=proof.latency,
        fidelity=proof.fidelity,
        integer_share=integer / total if total else 0.0,
        stayed_float=tuple(stayed),
        heavy=proof.heavy,
        notes=manager.trace.notes,
        trace=tuple(TraceRow.of(entry) for entry in manager.trace.entries),
        warnings=_warnings(proof, samples, manager),
        options=config.to_dict(),
        versions=versions(),
        seed=config.seed,
    )


def _warnings(proof: _Proof, samples: _Samples, manager: PassManager) -> tuple[str, ...]:
    found = []
    if not samples.any:
        found.append(
            "no --data: activation ranges need data, so only weights were quantized (int8 files, "
            "float speed); nothing was measured"
        )
    elif not samples.held_out:
        found.append("no sample could be held out: fidelity was measured on calibration data")
    if samples.source is not None and samples.source.skipped:
        first, reason = samples.source.skipped[0]
        found.append(
            f"{len(samples.source.skipped)} files could not be read and were left out, the first "
            f"{first}: {reason}"
        )
    if samples.any and proof.heavy and not any(layer.integer for layer in proof.heavy):
        found.append("nothing runs on integers: no part of this model pays for its conversions")
    found += [f"{e.name} was rolled back: {e.rolled_back}" for e in manager.trace.rolled_back]
    return tuple(found)


def _weight_size(model: ir.Model) -> int:
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def _size(source: ModelSource, model: ir.Model) -> int:
    """Bytes of the model as given, external data included."""
    if isinstance(source, bytes):
        return len(source)
    external = sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    )
    if isinstance(source, str | os.PathLike):
        return Path(source).stat().st_size + external
    return _weight_size(model)


def _deliver(result: Result, source: ModelSource, path: Path | None, config: Config) -> Result:
    """Writes model, plan and reports, if the result is what was required."""
    from dataclasses import replace

    require(result, config.require)
    size = len(to_bytes(result.model)) if path is None else 0
    if path is not None:
        written = save(result.model, path, protect=_protected(source))
        size = sum(file.stat().st_size for file in written)
    result = replace(result, path=path, size_after=size)
    if config.save_plan is not None:
        save_plan(result.plan, config.save_plan)
    write_reports(result, config)
    return result
