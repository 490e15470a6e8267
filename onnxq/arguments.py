"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Boxes", "Json", "Model", "Scores", "Task", "Threads"]

Model = Annotated[str, typer.Argument(metavar="MODEL", show_default=False, help="The ONNX model.")]
Task = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What the outputs mean: auto (recognize it), classification, detection or generic.",
    ),
]
Boxes = Annotated[str, typer.Option(metavar="A,B", help="Outputs that hold boxes.")]
Scores = Annotated[str, typer.Option(metavar="A,B", help="Outputs that hold scores.")]
Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Report as JSON; - for standard output."),
]
Threads = Annotated[int, typer.Option(metavar="N", help="Threads to use; 0 = one per core.")]
