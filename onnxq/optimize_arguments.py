"""The options of ``onnxq optimize`` that no other command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxq.arguments import choices

__all__ = [
    "Activations",
    "Budget",
    "Calibration",
    "Check",
    "ConfigFile",
    "Data",
    "EmbedPreprocess",
    "Format",
    "Granularity",
    "Io",
    "KeepFloat",
    "Minimize",
    "Opset",
    "Output",
    "Pareto",
    "Passes",
    "Pipeline",
    "Plan",
    "Preprocess",
    "Quiet",
    "Report",
    "Require",
    "Rescale",
    "Rounding",
    "Samples",
    "SavePlan",
    "Seed",
    "Sensitivity",
    "Skip",
    "Verbose",
    "Weights",
]

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="File to write  [default: MODEL.int8.onnx; the number is that of --weights, or "
        "MODEL.mixed.onnx with --budget]",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|MODULE:CALLABLE",
        help="Calibration samples: .npz or .npy of ready inputs (first axis = samples) or images; "
        "a folder of either with its sub-folders (a data set's root: its training images; one "
        "sub-folder per input for several inputs); a .txt file of their paths; or "
        "package.module:callable or file.py:callable, which yields feeds. Without it, activations "
        "stay float.",
    ),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.toml",
        help="How images become inputs. imagenet: short side, centre crop, RGB, mean and std of "
        "ImageNet. tf: stretch, RGB, -1..1. yolo: letterbox, RGB, 0..1. caffe: short side, centre "
        "crop, BGR, mean subtracted. raw: stretch, RGB, 0..255.",
    ),
]
EmbedPreprocess = Annotated[
    bool,
    typer.Option(
        "--embed-preprocess/--no-embed-preprocess",
        help="Put decoding (PNG, JPEG; needs onnxruntime-extensions) and that preprocessing into "
        "the model, which then takes the bytes of an image file.",
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Samples to use, spread over sub-folders; 0 = all; 64 unless given, or 256 where "
        "weights or activations may have few bits.",
    ),
]
Weights = Annotated[int, typer.Option(metavar="BITS", help="Bits of a weight: 8, 4, 3 or 2.")]
Activations = Annotated[
    int,
    typer.Option(
        metavar="BITS",
        help="Bits of what layers multiply by their weights: 8, or 4 (8 at the first and the last "
        "layers, and where 4 would cost most).",
    ),
]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RESOURCE=X",
        help="Give each layer bits of its own, such that the least is lost within size=0.16x (of "
        "the float model's file) or size=2.5MB, avg-weight-bits=5 (as stored), bops=0.05x, "
        "latency=0.8x (estimated; time that is left goes to float layers). Repeatable.",
    ),
]
Sensitivity = Annotated[
    str,
    typer.Option(
        metavar="METHOD",
        autocompletion=choices("sensitivity"),
        help="How --budget tells what bits cost: measured (the task's loss, layer by layer), "
        "quadratic (its curvature), auto (quadratic, and measured too where that takes some 90 s: "
        "what loses less with all layers rounded), "
        "trace (HAWQ-V2), eigenvalue (HAWQ), sqnr (noise at the outputs).",
    ),
]
Minimize = Annotated[
    str | None,
    typer.Option(
        metavar="size|latency",
        help="Look for the smallest or (by estimate) fastest model that does what --require asks "
        "for: each layer gets bits of its own, and what comes out is measured.",
    ),
]
Pareto = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.csv",
        help="What bits could be had for which size: show the front, and write it to this file.",
    ),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="How activation ranges are fitted: mse, minmax, kl, percentile[:PERCENT], lp:P with "
        "P from 1 to 4; adaptive-lp or pd, which choose P or the width by the loss at the outputs; "
        "auto, which tries all of these, the cheap ones first. Default: mse; lp:2.5 with "
        "--activations 4.",
    ),
]
Rounding = Annotated[
    str,
    typer.Option(
        metavar="METHOD",
        autocompletion=choices("rounding"),
        help="How weights of fewer than 8 bits are rounded: gptq+cd, gptq, adaround (by what "
        "comes out of their layers on the samples), blocks, flexround (gptq+cd, then by gradients "
        "of what comes out of blocks of layers), or nearest.",
    ),
]
Granularity = Annotated[
    str,
    typer.Option(
        metavar="channel|tensor",
        autocompletion=choices("weight_granularity"),
        help="One scale per output channel, or per weight.",
    ),
]
Format = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        autocompletion=choices("format"),
        help="Form: qdq; qoperator; integer (nothing else within); fp16; or qdq+fp16 (half "
        "precision beside integers, for tensorrt).",
    ),
]
Rescale = Annotated[
    str,
    typer.Option(
        metavar="int64|int32",
        autocompletion=choices("rescale"),
        help="In what --format integer multiplies sums by scales: int32 is faster, and moves about "
        "one code in a thousand by one.",
    ),
]
Io = Annotated[
    str,
    typer.Option(
        metavar="float|integer|half",
        autocompletion=choices("io"),
        help="What the model takes and gives: float; integer (with --format integer; scales are in "
        "the metadata); or half (with fp16).",
    ),
]
KeepFloat = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Nodes that stay float, by name: 'head.*'. Repeatable."),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METRIC>=X",
        help="Write nothing and exit with 3 unless it holds: 'sqnr>=20' (dB, worst output), "
        "'agreement>=0.95' (classifiers), 'f1>=0.9' (detectors), 'speedup>=1', 'integer>=0.9'. "
        "Repeatable.",
    ),
]
Plan = Annotated[Path | None, typer.Option(metavar="FILE", help="Replay this plan.")]
SavePlan = Annotated[Path | None, typer.Option(metavar="FILE", help="Save the plan.")]
Passes = Annotated[
    str,
    typer.Option(
        metavar="A,B",
        help="Run these passes alone (see 'onnxq passes'); +A joins A, which runs on request, to "
        "the others.",
    ),
]
Skip = Annotated[str, typer.Option(metavar="A,B", help="Leave these passes out.")]
Pipeline = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="Passes to run, in this order: [[rewrite]] or [[plan]] each, with name = and options "
        "(see 'onnxq passes'). A kind that it does not list runs as always.",
    ),
]
Opset = Annotated[int, typer.Option(metavar="N", help="ONNX opset of the output: 21 to 25.")]
Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Report as HTML.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Of all that is drawn.")]
Check = Annotated[
    bool, typer.Option("--check/--no-check", help="Hold every pass to its contract (slower).")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="Options of the project: keys as these options, without dashes in front. What the "
        "command line says counts more.  [default: onnxq.toml, if there is one]",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors alone.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what every pass does; show tracebacks.")
]
