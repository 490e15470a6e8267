"""Finds out where a model departs from the float one: the one place that knows in which order.

Outputs are judged as after optimizing, with all of onnxruntime's optimizations. Layers are
compared without: with the form of the float model that the other one was made from
(:mod:`onnxq.runtime.reference`), at the values that both know (:mod:`onnxq.runtime.matching`), with
all before from the second model and with inputs from the float one
(:mod:`onnxq.runtime.layer_errors`). Of the layers that are worst by themselves it is measured what
that costs at the outputs (:mod:`onnxq.runtime.blame`); the one that costs most is to blame. What
detectors find can be drawn side by side (:mod:`onnxq.report.drawings`).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

from onnxq.config import SAMPLES, Config, Options
from onnxq.data.calibration import CalibrationData
from onnxq.data.given import given_files
from onnxq.data.model_inputs import input_specs
from onnxq.errors import ModelError, OnnxqError
from onnxq.graph.choices import Choices, told_choices
from onnxq.graph.io import load
from onnxq.manager import PassManager, silent, teller
from onnxq.options import folder_option
from onnxq.passes.rewrite import float_rewrites
from onnxq.passes.rewrite.normalize import repair_passes
from onnxq.report.assemble import label
from onnxq.report.compare_result import ComparedLayer, CompareResult
from onnxq.report.drawings import Drawings
from onnxq.report.verify import TASK_PROBES, fidelity, recognized_task
from onnxq.report.versions import versions
from onnxq.runtime.blame import Rests, shares
from onnxq.runtime.layer_errors import Observer, OwnOutputs, own_errors, whole_errors
from onnxq.runtime.matching import match_layers
from onnxq.runtime.reader_factors import reader_factors
from onnxq.runtime.reference import choose_reference
from onnxq.selection import repeating
from onnxq.stages import rewritten
from onnxq.tasks.base import Overrides

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx_ir as ir

    from onnxq.data import DataLike
    from onnxq.data.base import DataSource
    from onnxq.graph.io import ModelSource
    from onnxq.manager import Progress
    from onnxq.report.result import Fidelity
    from onnxq.runtime.layer_errors import WholeError
    from onnxq.runtime.matching import MatchedLayer
    from onnxq.tasks.base import Task

__all__ = ["CompareOptions", "compare"]

_LAYER_SAMPLES = 16
_BLAME_SAMPLES = 8
_SUSPECTS = 16


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Options):
    """How models are compared.

    Attributes:
        preprocess: How images become inputs: a preset or a TOML file.
        samples: Samples to draw from the data, of which a quarter is compared; 0 = all.
        task: What the outputs mean: "auto", "classification", "detection" or "generic".
        boxes: Outputs that hold boxes; empty = recognize them.
        scores: Outputs that hold scores; empty = recognize them.
        draw: Folder for pictures with both models' detections side by side; None = none.
        seed: Of all that is drawn by lot.
        threads: Threads inside an operator; 0 = one per core.

    Raises:
        ConfigError: A value is not allowed.
    """

    preprocess: str | None = None
    samples: int = SAMPLES
    task: str = Config.task
    boxes: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    draw: Path | None = None
    seed: int = Config.seed
    threads: int = 1

    def __post_init__(self) -> None:
        config = self.config
        for item in fields(self):
            value = self.draw if item.name == "draw" else getattr(config, item.name)
            object.__setattr__(self, item.name, value)
        object.__setattr__(self, "draw", folder_option("draw", self.draw))

    @property
    def config(self) -> Config:
        """The same, for what optimizing does as well."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        del given["draw"]
        return Config(**given)

    @property
    def overrides(self) -> Overrides:
        """What the user says about the outputs."""
        return Overrides(self.task, self.boxes, self.scores)


def compare(
    first: ModelSource,
    second: ModelSource,
    data: DataLike,
    options: CompareOptions,
    progress: Progress | None = None,
) -> CompareResult:
    """Compares a model with the float one, at the outputs and layer by layer.

    Args:
        first: The float model; never changed.
        second: The model to compare with it, with the same inputs; never changed.
        data: Samples; the held-out ones are compared, as after optimizing with the same options.
        options: How to compare.
        progress: Is told how far each stage has come.

    Raises:
        OnnxqError: A model, the data or an option is not usable, the models have nothing in common,
            or a drawing cannot be written.
    """
    tell: Progress = progress or silent
    case = _case(first, second, data, options)
    probes = case.samples.spread(TASK_PROBES)
    task = recognized_task(case.real, probes, options.overrides, threads=case.threads)
    drawings = _drawings(options, task, case.samples, data)
    return CompareResult(
        first=case.names[0],
        second=case.names[1],
        data=f"{len(case.numbers)} samples; {_source(case.samples).describe()}",
        fidelity=_outputs(case, task, tell),
        layers=_layers(case, tell),
        drawn=() if drawings is None else drawings.write(case.real, case.other, case.names),
        seed=options.seed,
        versions=versions(),
    )


class _Case(NamedTuple):
    """What is compared, and on what."""

    real: ir.Model
    other: ir.Model
    names: tuple[str, str]
    samples: CalibrationData
    threads: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the samples."""
        return self.samples.judges()


def _case(
    first: ModelSource, second: ModelSource, data: DataLike, options: CompareOptions
) -> _Case:
    """Reads models and data, and makes sure that they belong together."""
    names = _names(first, second)
    real, other = (_repaired(source) for source in (first, second))
    _check(real, other, names)
    samples = CalibrationData.open(data, real, options.config)
    return _Case(real, other, names, samples, options.config.cores)


def _outputs(case: _Case, task: Task, tell: Progress) -> Fidelity:
    """Returns how close the outputs are."""
    return fidelity(
        case.real,
        case.other,
        case.samples.feeds(case.numbers),
        task=task,
        threads=case.threads,
        progress=teller(tell, "outputs", len(case.numbers)),
    )


def _source(samples: CalibrationData) -> DataSource:
    assert samples.source is not None, "there is data"
    return samples.source


def _drawings(
    options: CompareOptions, task: Task, samples: CalibrationData, data: DataLike
) -> Drawings | None:
    """Finds out before the work whether detections can be drawn; None if nobody asked."""
    if options.draw is None:
        return None
    given = given_files(data) if isinstance(data, str | os.PathLike) else []
    return Drawings(options.draw, task, _source(samples), samples.judges(), given)


def _layers(case: _Case, tell: Progress) -> tuple[ComparedLayer, ...]:
    """Returns what is measured at all ends of layers, in graph order."""
    _, other, _, samples, threads = case
    numbers = case.numbers[:_LAYER_SAMPLES]
    probe = next(iter(samples.feeds(numbers[:1])))
    folded = _folded(case.real, Choices(told_choices(other)))
    real = choose_reference([case.real, folded], other, probe, threads=threads)
    layers = match_layers(real, other, probe, threads=threads)
    observer = Observer(real, other, layers, threads=threads)
    expected = reader_factors(layers, folded, other)
    progress = teller(tell, "layers together", len(numbers))
    whole = whole_errors(layers, samples.feeds(numbers), observer, expected, progress=progress)
    progress = teller(tell, "layers alone", len(numbers))
    outputs = OwnOutputs(layers, whole, threads=threads)
    own = own_errors(layers, samples.feeds(numbers), observer, outputs, progress=progress)
    suspects = _suspects(layers, own)
    ends = [layer.value for layer in layers]
    rests = Rests(real, [layer.value for layer in suspects], ends, threads=threads)
    outputs = OwnOutputs(suspects, whole, threads=threads)
    few = numbers[:_BLAME_SAMPLES]
    progress = teller(tell, "blame", len(few))
    found = shares(rests, samples.feeds(few), observer, outputs, progress=progress)
    return tuple(_row(layer, whole, own, found) for layer in layers)


def _names(first: ModelSource, second: ModelSource) -> tuple[str, str]:
    """Returns what the models are called: by path where their file names are alike."""
    names = label(first), label(second)
    if names[0] != names[1]:
        return names
    if isinstance(first, str | os.PathLike) and isinstance(second, str | os.PathLike):
        return os.fspath(first), os.fspath(second)
    return "the first model", "the second model"


def _repaired(source: ModelSource) -> ir.Model:
    model = load(source)
    for repair in repair_passes():
        repair(model)
    return model


def _folded(real: ir.Model, choices: Choices) -> ir.Model:
    """Returns the model in the form whose weights a quantized one holds, if it has one."""
    try:
        rewrites = float_rewrites(choices=choices)
        return rewritten(real, PassManager(), repeating(Config(), choices.passes), rewrites)
    except OnnxqError:
        return real


def _check(real: ir.Model, other: ir.Model, names: tuple[str, str]) -> None:
    """Refuses models that no sample fits both of, or whose outputs have no name in common."""
    first, second = ({spec.name: spec for spec in input_specs(model)} for model in (real, other))
    if set(first) != set(second):
        raise ModelError(
            f"{names[1]}: its inputs are {_listed(second)}, those of {names[0]} {_listed(first)}; "
            "compare models with the same inputs"
        )
    outputs = [{str(value.name) for value in model.graph.outputs} for model in (real, other)]
    if outputs[0] != outputs[1]:
        raise ModelError(
            f"{names[1]}: its outputs are {_listed(outputs[1])}, those of {names[0]} "
            f"{_listed(outputs[0])}; compare models with the same outputs"
        )


def _listed(names: Sequence[str] | Mapping[str, object] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _suspects(layers: Sequence[MatchedLayer], own: Mapping[str, float]) -> list[MatchedLayer]:
    """Returns the layers that are worst by themselves, in graph order."""
    badness = {name: -math.inf if math.isnan(ratio) else ratio for name, ratio in own.items()}
    wrong = [layer for layer in layers if badness[layer.value] != math.inf]
    worst = sorted(wrong, key=lambda layer: badness[layer.value])[:_SUSPECTS]
    return [layer for layer in layers if layer in worst]


def _row(
    layer: MatchedLayer,
    whole: Mapping[str, WholeError],
    own: Mapping[str, float],
    found: Mapping[str, float],
) -> ComparedLayer:
    error = whole[layer.value]
    before = [whole[name].decibels for name in layer.sources.values() if name in whole]
    return ComparedLayer(
        node=layer.node,
        op=layer.op,
        value=layer.value,
        before=min(before, default=math.inf),
        whole=error.decibels,
        own=own[layer.value],
        scaled=error.fit is not None,
        share=found.get(layer.value),
    )
