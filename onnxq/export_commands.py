"""The commands for hardware and firmware: ``vectors``, ``firmware`` and ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.arguments import DrawSeed, Fed, Model, Preprocess, Shape
from onnxq.terminal import console, progress_bars

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["add_to"]

_VERIFY_EXAMPLES = """Examples:

\b
  onnxq verify net.integer.onnx --integer"""

_VECTORS_EXAMPLES = """Examples:

\b
  onnxq vectors net.integer.onnx --data calibration.npz -o vectors/
  onnxq vectors net.integer.onnx --data images/ --preprocess imagenet --samples 16 -o vectors/"""

_FIRMWARE_EXAMPLES = """Examples:

\b
  onnxq firmware net.integer.onnx -o tables/
  onnxq firmware net.integer.onnx --shape input=1x3x96x96 -o tables/"""

Folder = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FOLDER", show_default=False, help="Folder to make."),
]
Samples = Annotated[int, typer.Option(metavar="N", help="Samples to take; 0 = all.")]


def add_to(app: typer.Typer) -> None:
    """Gives the command line these commands."""
    app.command(epilog=_VERIFY_EXAMPLES)(verify)
    app.command(epilog=_VECTORS_EXAMPLES)(vectors)
    app.command(epilog=_FIRMWARE_EXAMPLES)(firmware)


def vectors(
    model: Model,
    data: Fed,
    output: Folder,
    preprocess: Preprocess = None,
    samples: Samples = 4,
    seed: DrawSeed = 0,
) -> None:
    """Writes test vectors: inputs, every value within, and outputs, to the bit.

    They are computed without onnxruntime, which has to agree.
    """
    from onnxq.export.vectors import INDEX, VectorOptions, write_vectors
    from onnxq.report.units import bytes_text

    options = VectorOptions(preprocess=preprocess, samples=samples, seed=seed)
    with progress_bars() as progress:
        found = write_vectors(model, data, output, options, progress)
    count = f"{found.samples} samples of {found.values} values, {bytes_text(found.size)}"
    lines = [f"{found.folder / INDEX}: {count}, the same in onnxruntime to the bit"]
    _print(lines, found.left_out)


def firmware(model: Model, output: Folder, shape: Shape = None) -> None:
    """Writes MODEL as plain tables for a program in C: JSON, and a file of constants.

    tools/examples/firmware/run.c in the source is such a program.
    """
    from onnxq.export.firmware import CONSTANTS, GRAPH, export_firmware
    from onnxq.report.units import bytes_text

    found = export_firmware(model, output, shapes=tuple(shape or ()))
    lines = [
        f"{found.folder / GRAPH}: {found.nodes} nodes; {', '.join(found.operators)}",
        f"{found.folder / CONSTANTS}: {bytes_text(found.size)}",
    ]
    _print(lines, found.left_out)


def verify(
    model: Model,
    integer: Annotated[
        bool,
        typer.Option(
            "--integer",
            help="Prove that there is no float between its quantization and dequantization nodes, "
            "and that no integer can leave its type.",
        ),
    ] = False,
) -> None:
    """Proves what is asked for of MODEL; exit code 2 and the places where it fails otherwise."""
    from onnxq.verifying import verify as run

    console().print(run(model, integer=integer), crop=False)


def _print(lines: Sequence[str], left_out: Sequence[str]) -> None:
    reasons = [f"left out, with what comes of it: {reason}" for reason in left_out]
    text = "\n".join([*lines, *reasons])
    console().print(text, markup=False, highlight=False, soft_wrap=True)
