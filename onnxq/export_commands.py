"""The commands for hardware and firmware: ``vectors`` and ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxq.arguments import DrawSeed, Fed, Model, Preprocess
from onnxq.terminal import console, progress_bars

__all__ = ["VECTORS_EXAMPLES", "vectors", "verify"]

VECTORS_EXAMPLES = """Examples:

\b
  onnxq vectors net.integer.onnx --data calibration.npz -o vectors/
  onnxq vectors net.integer.onnx --data images/ --preprocess imagenet --samples 16 -o vectors/"""

Folder = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FOLDER", show_default=False, help="Folder to make."),
]
Samples = Annotated[int, typer.Option(metavar="N", help="Samples to take; 0 = all.")]


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
    lines += [f"left out, with what comes of it: {reason}" for reason in found.left_out]
    console().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


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
