"""Finds out where a model departs from the float one: the one place that knows in which order.

Outputs are judged as after optimizing, with all of onnxruntime's optimizations. Layers are
compared without: at the values that both models know (:mod:`onnxq.runtime.matching`), with all
before from the second model and with inputs from the float one (:mod:`onnxq.runtime.layer_errors`).
Of the layers that are worst by themselves it is measured what that costs at the outputs
(:mod:`onnxq.runtime.blame`); the one that costs most is to blame.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from onnxq.config import Config
from onnxq.data.calibration import CalibrationData
from onnxq.data.model_inputs import input_specs
from onnxq.errors import ModelError, OnnxqError
from onnxq.graph.io import load
from onnxq.manager import PassManager, silent, teller
from onnxq.passes.rewrite.normalize import repair_passes
from onnxq.report.assemble import label
from onnxq.report.compare_result import Compared, ComparedLayer
from onnxq.report.verify import fidelity, recognized_task
from onnxq.report.versions import versions
from onnxq.runtime.blame import Rests, shares
from onnxq.runtime.layer_errors import Observer, OwnOutputs, own_errors, whole_errors
from onnxq.runtime.matching import match_layers
from onnxq.runtime.reader_factors import reader_factors
from onnxq.stages import rewritten
from onnxq.tasks.base import Overrides

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir

    from onnxq.data import DataLike
    from onnxq.graph.io import ModelSource
    from onnxq.manager import Progress
    from onnxq.runtime.layer_errors import WholeError
    from onnxq.runtime.matching import MatchedLayer

__all__ = ["compare"]

_TASK_PROBES = 4
_BLAME_SAMPLES = 8
_SUSPECTS = 16


def compare(
    first: ModelSource,
    second: ModelSource,
    data: DataLike,
    config: Config,
    progress: Progress | None = None,
) -> Compared:
    """Compares a model with the float one, at the outputs and layer by layer.

    Args:
        first: The float model; never changed.
        second: The model to compare with it, with the same inputs; never changed.
        data: Samples; the held-out ones are compared, as after optimizing with the same options.
        config: Options; those for data and threads count.
        progress: Is told how far each stage has come.

    Raises:
        OnnxqError: A model or the data is not usable, or the models have nothing in common.
    """
    tell: Progress = progress or silent
    names = _names(first, second)
    real, other = (_repaired(source) for source in (first, second))
    _check(real, other, names)
    samples = CalibrationData.open(data, real, config)
    numbers = samples.judges()
    threads = config.cores
    task = recognized_task(real, samples.spread(_TASK_PROBES), Overrides(), threads=threads)
    proof = fidelity(
        real,
        other,
        samples.feeds(numbers),
        task=task,
        threads=threads,
        progress=teller(tell, "outputs", len(numbers)),
    )
    assert samples.source is not None, "there is data"
    return Compared(
        first=names[0],
        second=names[1],
        data=f"{len(numbers)} samples; {samples.source.describe()}",
        fidelity=proof,
        layers=_layers(real, other, samples, threads, tell),
        seed=config.seed,
        versions=versions(),
    )


def _layers(
    real: ir.Model, other: ir.Model, samples: CalibrationData, threads: int, tell: Progress
) -> tuple[ComparedLayer, ...]:
    """Returns what is measured at all ends of layers, in graph order."""
    numbers = samples.judges()
    few = numbers[:_BLAME_SAMPLES]
    probe = next(iter(samples.feeds(numbers[:1])))
    layers = match_layers(real, other, probe, threads=threads)
    observer = Observer(real, other, layers, threads=threads)
    expected = reader_factors(layers, _folded(real), other)
    progress = teller(tell, "layers together", len(numbers))
    whole = whole_errors(layers, samples.feeds(numbers), observer, expected, progress=progress)
    progress = teller(tell, "layers alone", len(numbers))
    outputs = OwnOutputs(layers, whole, threads=threads)
    own = own_errors(layers, samples.feeds(numbers), observer, outputs, progress=progress)
    suspects = _suspects(layers, own)
    ends = [layer.value for layer in layers]
    rests = Rests(real, [layer.value for layer in suspects], ends, threads=threads)
    outputs = OwnOutputs(suspects, whole, threads=threads)
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


def _folded(real: ir.Model) -> ir.Model:
    """Returns the model in the form whose weights a quantized one holds, if it has one."""
    try:
        return rewritten(real, PassManager(), Config())
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
