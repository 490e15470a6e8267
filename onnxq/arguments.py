"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.options import READERS, Choice

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Boxes",
    "DrawSeed",
    "Fed",
    "Json",
    "Model",
    "Preprocess",
    "Provider",
    "Scores",
    "Shape",
    "Target",
    "Task",
    "Threads",
    "choices",
]


def choices(name: str) -> Callable[[str], list[str]]:
    """Returns what completes an option that takes one word of a few.

    Args:
        name: The option's field of the configuration.
    """

    def complete(start: str) -> list[str]:
        reader = READERS[name]
        allowed = reader.allowed if isinstance(reader, Choice) else ()
        return [word for word in allowed if word.startswith(start)]

    return complete


Model = Annotated[str, typer.Argument(metavar="MODEL", show_default=False, help="The ONNX model.")]
Task = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        autocompletion=choices("task"),
        help="What the outputs mean: auto (recognize it), classification, detection or generic.",
    ),
]
Target = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE.toml",
        help="What the model will run on: cpu (any x86-64), cpu-vnni, cpu-arm, wasm, "
        "openvino, tensorrt, qnn, cuda, coreml, or a TOML file of your own.",
    ),
]
Boxes = Annotated[str, typer.Option(metavar="A,B", help="Outputs that hold boxes.")]
Scores = Annotated[str, typer.Option(metavar="A,B", help="Outputs that hold scores.")]
Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Report as JSON; - for standard output."),
]
Threads = Annotated[int, typer.Option(metavar="N", help="Threads to use; 0 = one per core.")]
Fed = Annotated[
    str,
    typer.Option(
        "--data", metavar="PATH|MODULE:CALLABLE", help="Samples to feed, as for 'optimize'."
    ),
]
Preprocess = Annotated[
    str | None, typer.Option(metavar="NAME|FILE.toml", help="How images become inputs.")
]
Provider = Annotated[
    str, typer.Option(metavar="NAME", help="What onnxruntime runs the models on: cpu, cuda, …")
]
DrawSeed = Annotated[int, typer.Option("--seed", metavar="N", help="Of all that is drawn.")]
Shape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="INPUT=1x3x224x224",
        help="Shape of an input with symbolic dimensions, which are 1 otherwise. Repeatable.",
    ),
]
