"""Recognizes a model's task from its outputs; names of models play no part.

What decides, in this order: what the user says; finished boxes; dense heads; a score vector.
Everything else is generic. Numbers are judged on probe runs of the float model; without them only a
score vector is recognized, by its shape.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import ConfigError
from onnxq.graph.query import shape_of
from onnxq.tasks.base import Overrides, Task, generic
from onnxq.tasks.classification import classification, is_embedding, is_scores
from onnxq.tasks.context import Context, operator_behind
from onnxq.tasks.dense import dense_head
from onnxq.tasks.describe import described
from onnxq.tasks.detection import BoxComparison, PlaceComparison
from onnxq.tasks.detector_loss import detection_loss
from onnxq.tasks.end_to_end import finished
from onnxq.tasks.layout import Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from onnxq.tasks.base import Outputs
    from onnxq.tasks.head import Reader

__all__ = ["check_outputs", "recognize"]

_AUTO = Overrides()


def recognize(
    model: ir.Model,
    probes: Sequence[Outputs],
    input_shape: Sequence[int] | None = None,
    overrides: Overrides = _AUTO,
) -> Task:
    """Returns the task of a model.

    Args:
        model: The float model as it was given.
        probes: Its outputs on a few samples; a few are enough, none leaves little to judge by.
        input_shape: Shape of the picture that is fed to it; None = it takes none.
        overrides: What the user says.

    Raises:
        ConfigError: The model's outputs are not what the user says.
    """
    check_outputs(model, overrides)
    if overrides.task == "generic":
        return generic("outputs are compared number by number, as asked")
    outputs = _seen(model, probes, overrides)
    context = Context.of(model, input_shape)
    asked = overrides.task == "detection" or bool(overrides.boxes)
    if outputs and probes and overrides.task != "classification":
        reader = finished(outputs, suppressed=context.suppressed) or dense_head(
            outputs, probes, context, overrides
        )
        if reader is not None:
            return _detection(reader, outputs)
    if asked and probes:
        said = "--task detection" if overrides.task == "detection" else "--boxes"
        raise ConfigError(_not_found(model, said, "--boxes and --scores"))
    vector = None if asked else _vector(model, outputs, context, overrides)
    if vector is not None:
        return vector
    if overrides.task == "classification" and probes:
        raise ConfigError(_not_found(model, "--task classification", "--scores"))
    return generic(_why(model, probes, outputs))


def check_outputs(model: ir.Model, overrides: Overrides) -> None:
    """Makes sure that the outputs that the user names exist.

    Raises:
        ConfigError: One does not.
    """
    names = [str(value.name) for value in model.graph.outputs]
    for option, given in (("--boxes", overrides.boxes), ("--scores", overrides.scores)):
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"{option} '{name}' is no output; choose one of {', '.join(names)}"
                )


def _seen(model: ir.Model, probes: Sequence[Outputs], overrides: Overrides) -> list[Seen]:
    """The outputs to look at: those that the user names, else all."""
    named = {*overrides.boxes, *overrides.scores}
    found = []
    for value in model.graph.outputs:
        name = str(value.name)
        arrays = tuple(probe[name] for probe in probes)
        usable = all(isinstance(array, np.ndarray) for array in arrays)
        if arrays and usable and (not named or name in named):
            same_rank = len({array.ndim for array in arrays}) == 1
            found += [Seen(name, arrays)] if same_rank else []
    return found


def _detection(reader: Reader, outputs: Sequence[Seen]) -> Task:
    comparison = BoxComparison if reader.decoded else PlaceComparison
    what = described(reader, outputs)
    loss = partial(detection_loss, reader)
    return Task("detection", what, partial(comparison, reader), reader, loss)


def _vector(
    model: ir.Model, outputs: Sequence[Seen], context: Context, overrides: Overrides
) -> Task | None:
    values = [v for v in model.graph.outputs if not overrides.scores or v.name in overrides.scores]
    if len(values) != 1 or (context.suppressed and overrides.task == "auto"):
        return None
    value = values[0]
    shape = outputs[0].shape if outputs else shape_of(value)
    if shape is None or not is_scores(shape):
        return None
    sure = overrides.task == "classification" or bool(overrides.scores)
    if outputs and not sure and _is_no_answer(outputs[0]):
        return None
    behind = operator_behind(value)
    scored = behind if behind in ("Softmax", "LogSoftmax", "Sigmoid") else None
    return classification(str(value.name), shape, scored)


def _is_no_answer(one: Seen) -> bool:
    """Rows whose number depends on the data list what was found; embeddings are no scores."""
    rows = {array.shape[0] for array in one.arrays}
    return len(rows) > 1 or rows == {0} or all(is_embedding(array) for array in one.arrays)


def _not_found(model: ir.Model, said: str, options: str) -> str:
    names = ", ".join(str(value.name) for value in model.graph.outputs)
    return (
        f"{said} does not fit: no output of {names} was recognized; name outputs with "
        f"{options}, or give --task generic"
    )


def _why(model: ir.Model, probes: Sequence[Outputs], outputs: Sequence[Seen]) -> str:
    if not probes:
        return "without samples only a score vector is recognized"
    count = len(model.graph.outputs)
    shapes = ", ".join(f"{one.name} {list(one.shape)}" for one in outputs[:3])
    more = f" and {count - 3} more" if count > 3 else ""
    return f"no classes or boxes recognized in {shapes}{more}" if shapes else "no output to look at"
