"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Boxes", "DrawSeed", "Fed", "Json", "Model", "Preprocess", "Scores", "Task", "Threads"]

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
Fed = Annotated[
    str,
    typer.Option(
        "--data", metavar="PATH|MODULE:CALLABLE", help="Samples to feed, as for 'optimize'."
    ),
]
Preprocess = Annotated[
    str | None, typer.Option(metavar="NAME|FILE.toml", help="How images become inputs.")
]
DrawSeed = Annotated[int, typer.Option("--seed", metavar="N", help="Of all that is drawn.")]
