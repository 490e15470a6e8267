"""Collects what only the report for a browser shows; nothing here runs without ``--report``.

It costs a few runs: both models on 4 samples with every layer's end as an output, each layer once
more by itself, 10 runs of both for the kernels' times, and 8 pictures. Histograms were made by the
observing pass and cost nothing.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.errors import ModelError
from onnxq.report.drawings import drawn_pairs
from onnxq.report.evidence import Drawing, Evidence, LayerError
from onnxq.report.weight_ranges import WeightWatch
from onnxq.runtime.kernel_times import kernel_times
from onnxq.runtime.layer_errors import Observer, OwnOutputs, own_errors, whole_errors
from onnxq.runtime.matching import match_layers
from onnxq.runtime.reader_factors import reader_factors

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from onnxq.config import Config
    from onnxq.data.calibration import CalibrationData
    from onnxq.graph.io import ModelSource
    from onnxq.passbase import PlanContext, Progress
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.report.drawings import DrawnPair
    from onnxq.tasks.base import Task

__all__ = ["Gatherer"]

logger = logging.getLogger(__name__)

_FORMATS_OF_CODES = ("integer", "qoperator")
_LAYER_SAMPLES = 4
_PICTURES_LOOKED_AT = 8
_PICTURES_SHOWN = 4
_JPEG_QUALITY = 82
_SIDES = ("float", "quantized")


@dataclass(frozen=True)
class Gatherer:
    """Collects the evidence of one run.

    Attributes:
        source: The model as the user gave it.
        original: The same, read.
        samples: The calibration data.
        task: What the outputs mean.
        config: The options; without a report among them, nothing is collected.
        tell: Is told how far it has come.
        as_qdq: Makes the QDQ form of a plan, whose layers can be compared where values are codes.
        watch: Is to be shown the model ahead of every rewrite; None = it need not.
    """

    source: ModelSource
    original: ir.Model
    samples: CalibrationData
    task: Task
    config: Config
    tell: Progress
    as_qdq: Callable[[ir.Model, QuantPlan], ir.Model]
    watch: WeightWatch | None = field(init=False)

    def __post_init__(self) -> None:
        wanted = self.config.report is not None
        object.__setattr__(self, "watch", WeightWatch() if wanted else None)

    def evidence(
        self, context: PlanContext, plan: QuantPlan, quantized: ir.Model
    ) -> Evidence | None:
        """Returns what was seen on the way, and measures the rest; None without a report.

        Args:
            context: The float model in its rewritten form, with statistics.
            plan: What was lowered.
            quantized: The outcome.
        """
        if self.watch is None:
            return None
        self.tell("report", 0, 1)
        seen = Evidence(
            model=context.model,
            shapes=context.shapes,
            stats=context.stats,
            weights=self.watch.ranges(context.model, plan),
            digest=_digest(self.source),
        )
        if self.samples.any:
            feed = next(iter(self.samples.spread(1)))
            codes = self.config.format in _FORMATS_OF_CODES
            compared = self.as_qdq(context.model, plan) if codes else quantized
            seen = replace(
                seen,
                layers=self._layers_if_comparable(context.model, compared),
                layers_as_qdq=codes,
                float_times=tuple(kernel_times(self.original, feed)),
                integer_times=tuple(kernel_times(quantized, feed)),
                drawings=self._drawings(quantized),
            )
        self.tell("report", 1, 1)
        return seen

    def _layers_if_comparable(self, real: ir.Model, quantized: ir.Model) -> tuple[LayerError, ...]:
        """A report lacks a chart rather than fail a run that is done."""
        try:
            return self._layers(real, quantized)
        except ModelError as error:
            logger.warning("the report has no errors along the depth: %s", error)
            return ()

    def _layers(self, real: ir.Model, quantized: ir.Model) -> tuple[LayerError, ...]:
        """Compares the ends of layers, as ``onnxq compare`` does, on a few samples."""
        samples, threads = self.samples, self.config.cores
        numbers = samples.judges()[:_LAYER_SAMPLES]
        probe = next(iter(samples.feeds(numbers[:1])))
        layers = match_layers(real, quantized, probe, threads=threads)
        observer = Observer(real, quantized, layers, threads=threads)
        expected = reader_factors(layers, real, quantized)
        whole = whole_errors(layers, samples.feeds(numbers), observer, expected)
        outputs = OwnOutputs(layers, whole, threads=threads)
        own = own_errors(layers, samples.feeds(numbers), observer, outputs)
        return tuple(
            LayerError(layer.node, layer.value, whole[layer.value].decibels, own[layer.value])
            for layer in layers
        )

    def _drawings(self, quantized: ir.Model) -> tuple[Drawing, ...]:
        """Draws a detector's pictures; of the first few, those where the models differ most."""
        reader, source = self.task.reader, self.samples.source
        if reader is None or not reader.decoded or source is None:
            return ()
        numbers = self.samples.judges()[:_PICTURES_LOOKED_AT]
        models = self.original, quantized
        threads = self.config.cores
        pairs = list(drawn_pairs(reader, source, numbers, models, _SIDES, threads=threads))
        pairs.sort(key=lambda pair: (-pair.alone, -pair.boxes[0]))
        return tuple(map(_drawing, pairs[:_PICTURES_SHOWN]))


def _drawing(pair: DrawnPair) -> Drawing:
    content = io.BytesIO()
    pair.image.save(content, "JPEG", quality=_JPEG_QUALITY)
    found = f"{pair.boxes[0]} boxes by float, {pair.boxes[1]} by the quantized model"
    alone = f"{pair.alone} found by one of them alone" if pair.alone else "all found by both"
    return Drawing(pair.name, f"{found}; {alone}", content.getvalue(), *pair.image.size)


def _digest(source: ModelSource) -> str:
    if not isinstance(source, str | os.PathLike):
        return ""
    with Path(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
