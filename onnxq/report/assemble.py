"""Puts a :class:`Result` together from what the stages left."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.conformance.check import broken_rules
from onnxq.graph.external import size_on_disk
from onnxq.graph.io import load
from onnxq.graph.query import macs
from onnxq.report.made_for import MadeFor
from onnxq.report.reproduce import command
from onnxq.report.result import (
    Fidelity,
    FloatNode,
    HeavyLayer,
    Latency,
    Result,
    TraceRow,
)
from onnxq.report.versions import versions
from onnxq.report.weight_bits import layer_weights
from onnxq.runtime.machine import machine_target
from onnxq.runtime.providers import provider_called
from onnxq.runtime.session import CPU

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.config import Config
    from onnxq.data import DataLike
    from onnxq.data.calibration import CalibrationData
    from onnxq.graph.io import ModelSource
    from onnxq.manager import Trace
    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.report.front import FrontPoint

__all__ = ["Proof", "Run", "assemble", "label", "source_size"]


@dataclass(frozen=True)
class Proof:
    """What was measured on the quantized model."""

    fidelity: Fidelity
    latency: Latency | None
    heavy: tuple[HeavyLayer, ...]


@dataclass(frozen=True)
class Run:
    """What one run was given and did.

    Attributes:
        source: The model as the user gave it.
        original: The same, read.
        samples: The calibration data.
        config: The options.
        trace: What the passes did.
        warnings: What the user should know of the model.
        packages: Other packages whose passes it used → their versions.
        data: The data as the user gave them.
    """

    source: ModelSource
    original: ir.Model
    samples: CalibrationData
    config: Config
    trace: Trace
    warnings: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    data: DataLike | None = None


def label(source: ModelSource) -> str:
    """Returns what messages call the model."""
    return Path(source).name if isinstance(source, str | os.PathLike) else "the model"


def assemble(  # noqa: PLR0913 (what the stages left, one by one)
    run: Run,
    context: PlanContext,
    plan: QuantPlan,
    quantized: ir.Model,
    proof: Proof,
    front: tuple[FrontPoint, ...] = (),
) -> Result:
    """Returns the result, not yet written.

    Args:
        run: What was given and done.
        context: The float model in its rewritten form, with observed shapes.
        plan: What was lowered.
        quantized: The outcome.
        proof: What was measured on it.
        front: What bits could be had for which size.
    """
    total = sum(layer.macs for layer in proof.heavy)
    integer = sum(layer.macs for layer in proof.heavy if layer.integer)
    stayed = [
        FloatNode(name, node.op_type, macs(node, context.shapes) or 0, plan.float_nodes[name])
        for node in context.model.graph
        if (name := str(node.name)) in plan.float_nodes
    ]
    return Result(
        model=quantized,
        plan=plan,
        source=label(run.source),
        data=_data(run.samples),
        size_before=source_size(run.source, run.original),
        size_after=_weight_size(quantized),
        latency=proof.latency,
        fidelity=proof.fidelity,
        integer_share=integer / total if total else 0.0,
        stayed_float=tuple(stayed),
        heavy=proof.heavy,
        weights=layer_weights(context.model, plan, packed=run.config.format != "integer"),
        front=front,
        notes=run.trace.notes,
        trace=tuple(TraceRow.of(entry) for entry in run.trace.entries),
        made_for=MadeFor.of(context.target, provider_called(run.config.provider), machine_target()),
        findings=broken_rules(quantized, context.target),
        warnings=(*run.warnings, *_unmatched(run, context), *_warnings(run, context, proof)),
        options=run.config.to_dict(),
        versions={**versions(), **run.packages},
        seed=run.config.seed,
        command=command(run.source, run.data, run.config),
    )


def _data(samples: CalibrationData) -> str:
    if samples.source is None:
        return ""
    used = len(samples.calibration) + len(samples.held_out)
    return f"{used} of {len(samples.source)} samples; {samples.source.describe()}"


def _unmatched(run: Run, context: PlanContext) -> list[str]:
    names = [str(node.name) for node in context.model.graph]
    return [
        f"--keep-float '{pattern}' matches no node"
        for pattern in run.config.keep_float
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names)
    ]


def _warnings(run: Run, context: PlanContext, proof: Proof) -> tuple[str, ...]:
    found = []
    samples = run.samples
    provider = provider_called(run.config.provider)
    away = context.target.provider != provider
    if away and samples.any:
        found.append(
            f"fidelity was measured on {provider}, not on {context.target.name}; speed and integer "
            "share there are not known"
        )
    form = run.config.format
    if not samples.any and form == "fp16":
        found.append(
            "no --data: what exceeds half precision shows on samples alone; nothing was measured"
        )
    elif not samples.any:
        found.append(
            "no --data: activation ranges need data, so only weights were quantized (small files, "
            "float speed); nothing was measured"
        )
    elif "fp16" in form and provider == CPU:
        found.append(
            f"{CPU} computes half precision in float32, where nothing overflows: what must not be"
            " half precision was told from the samples' ranges alone"
        )
    if samples.any and not samples.held_out:
        found.append("no sample could be held out: fidelity was measured on calibration data")
    if samples.source is not None and samples.source.skipped:
        first, reason = samples.source.skipped[0]
        found.append(
            f"{len(samples.source.skipped)} files could not be read and were left out, the first "
            f"{first}: {reason}"
        )
    if (
        samples.any
        and not away
        and provider == CPU
        and form != "fp16"
        and proof.heavy
        and not any(layer.integer for layer in proof.heavy)
    ):
        found.append("nothing runs on integers: no part of this model pays for its conversions")
    found += [f"{e.name} was rolled back: {e.rolled_back}" for e in run.trace.rolled_back]
    return tuple(found)


def _weight_size(model: ir.Model) -> int:
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def source_size(source: ModelSource, model: ir.Model) -> int:
    """Returns the bytes of the model as given, external data included."""
    if isinstance(source, bytes):
        return len(source)
    if isinstance(source, str | os.PathLike):
        return size_on_disk(source, model)
    # ``model`` may be in float32 by now, since onnxruntime does not run it as it was given.
    return _weight_size(load(source))
