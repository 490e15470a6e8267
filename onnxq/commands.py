"""The commands that write no model: ``bench``, ``compare``, ``inspect`` and ``passes``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.arguments import (
    Boxes,
    DrawSeed,
    Fed,
    Json,
    Model,
    Preprocess,
    Provider,
    Scores,
    Shape,
    Task,
    Threads,
)
from onnxq.terminal import console, is_standard_output, progress_bars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

__all__ = ["add_to"]

_BENCH_EXAMPLES = """Examples:

\b
  onnxq bench net.onnx net.int8.onnx
  onnxq bench net.onnx net.int8.onnx --batch 8 --threads 4 --profile
  onnxq bench net.onnx --shape input=1x3x640x640 --json bench.json"""

_COMPARE_EXAMPLES = """Examples:

\b
  onnxq compare net.onnx net.int8.onnx --data calibration.npz
  onnxq compare yolo.onnx yolo.int8.onnx --data images/ --preprocess yolo --json layers.json
  onnxq compare yolo.onnx yolo.int8.onnx --data images/ --preprocess yolo --draw drawings/"""

_INSPECT_EXAMPLES = """Examples:

\b
  onnxq inspect net.onnx
  onnxq inspect net.onnx --shape input=1x3x640x640 --json net.json"""

_PASSES_EXAMPLES = """Examples:

\b
  onnxq passes
  onnxq passes --toml > own.toml      # what runs by default, to edit for --pipeline own.toml"""

Models = Annotated[
    list[str],
    typer.Argument(metavar="A.onnx [B.onnx …]", show_default=False, help="The ONNX models."),
]
First = Annotated[
    str, typer.Argument(metavar="A.onnx", show_default=False, help="The float model.")
]
Second = Annotated[
    str, typer.Argument(metavar="B.onnx", show_default=False, help="A model made from it.")
]
Batch = Annotated[
    int | None,
    typer.Option(metavar="N", help="Samples at a time, where the first dimension is open."),
]
Seconds = Annotated[float, typer.Option(metavar="S", help="Seconds of timing for each model.")]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|MODULE:CALLABLE",
        help="Samples to feed, as for 'optimize'. Without it: random inputs.",
    ),
]
Samples = Annotated[
    int,
    typer.Option(metavar="N", help="Samples to draw, of which a quarter is fed; 0 = all."),
]
Profile = Annotated[bool, typer.Option("--profile", help="Show the time by operator.")]
Draw = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Draw both models' detections side by side on the pictures, a PNG for each, at most "
        "50: green where the other model finds the box as well, red where it does not.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Of random inputs.")]


def add_to(app: typer.Typer) -> None:
    """Gives the command line these commands."""
    app.command(epilog=_PASSES_EXAMPLES)(passes)
    app.command(epilog=_BENCH_EXAMPLES)(bench)
    app.command(epilog=_COMPARE_EXAMPLES)(compare)
    app.command(epilog=_INSPECT_EXAMPLES)(inspect)


def bench(
    models: Models,
    threads: Threads = 1,
    batch: Batch = None,
    provider: Provider = "cpu",
    seconds: Seconds = 2.0,
    data: Data = None,
    preprocess: Preprocess = None,
    shape: Shape = None,
    profile: Profile = False,
    json: Json = None,
    seed: Seed = 0,
) -> None:
    """Measures latency and memory of models in turns, and says what noise does not explain."""
    _check_json(json, models)
    from onnxq.benchmarking import BenchOptions
    from onnxq.benchmarking import bench as run
    from onnxq.report.bench_json import bench_json
    from onnxq.report.bench_text import bench_text

    options = BenchOptions(
        threads=threads,
        batch=batch,
        provider=provider,
        seconds=seconds,
        data=data,
        preprocess=preprocess,
        shapes=tuple(shape or ()),
        profile=profile,
        seed=seed,
    )
    result = run(models, options)
    _deliver(bench_text(result), json, bench_json(result))


def compare(
    first: First,
    second: Second,
    data: Fed,
    preprocess: Preprocess = None,
    samples: Samples = 64,
    task: Task = "auto",
    boxes: Boxes = "",
    scores: Scores = "",
    draw: Draw = None,
    json: Json = None,
    seed: DrawSeed = 0,
    threads: Threads = 1,
) -> None:
    """Shows where B departs from A: at the outputs, layer by layer, and which layer is to blame."""
    _check_json(json, [first, second])
    from onnxq.comparing import CompareOptions
    from onnxq.comparing import compare as run
    from onnxq.report.compare_json import compare_json
    from onnxq.report.compare_text import compare_text

    options = CompareOptions(
        preprocess=preprocess,
        samples=samples,
        task=task,
        boxes=(boxes,) if boxes else (),
        scores=(scores,) if scores else (),
        draw=draw,
        seed=seed,
        threads=threads,
    )
    with progress_bars() as progress:
        compared = run(first, second, data, options, progress)
    _deliver(compare_text(compared), json, compare_json(compared))


def inspect(
    model: Model,
    shape: Shape = None,
    json: Json = None,
) -> None:
    """Shows what MODEL is made of, what it costs, and what would be quantized, without data."""
    _check_json(json, [model])
    from onnxq.inspection import inspect as run
    from onnxq.report.inspect_json import inspect_json
    from onnxq.report.inspect_text import inspect_text

    found = run(model, shapes=tuple(shape or ()))
    _deliver(inspect_text(found), json, inspect_json(found))


def passes(
    toml: Annotated[
        bool,
        typer.Option("--toml", help="Print what runs by default as a file for --pipeline."),
    ] = False,
) -> None:
    """Lists every pass in the order in which they run: name, kind, what it does, its options."""
    from rich.table import Table
    from rich.text import Text

    from onnxq.registry import default_pipeline, known_passes

    if toml:
        sys.stdout.write(default_pipeline())
        return
    table = Table.grid(padding=(0, 2))
    for row in known_passes():
        notes = [f"(from {row.origin})"] if row.origin else []
        notes += ["(on request)"] if row.on_request else []
        text = " ".join([row.summary, *notes])
        table.add_row(Text(row.name, "bold"), Text(row.kind), Text(text))
        for name, wanted in row.options.items():
            table.add_row("", "", Text(f"{name}: {wanted}", "dim"))
    console().print(table)


def _check_json(path: Path | None, models: Sequence[str]) -> None:
    """Finds out before the work whether the report can be written."""
    if path is not None and not is_standard_output(path):
        from onnxq.config import Config
        from onnxq.report.files import check_reports

        check_reports(Config(json=path), [Path(model) for model in models])


def _deliver(shown: RenderableType, path: Path | None, text: str) -> None:
    """Prints and writes a report; on standard output its JSON stands alone."""
    if is_standard_output(path):
        sys.stdout.write(text)
        return
    if path is not None:
        from onnxq.atomic import pending_file

        with pending_file(path, "report") as pending:
            pending.write_bytes(text.encode("utf-8", "backslashreplace"))
    console().print(shown, crop=False)
