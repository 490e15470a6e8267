"""The ``onnxq`` command: arguments become a configuration, errors become one line.

Exit codes: 0 done; 1 a bug in onnxq; 2 something the user can mend; 3 a requirement is missed;
4 lint found something; 130 interrupted. The report goes to standard output, all else to standard
error.
"""

from __future__ import annotations

import gc
import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq import commands, export_commands, lint_command
from onnxq.arguments import Boxes, Budget, Json, Model, Scores, Sensitivity, Target, Task, Threads
from onnxq.config import Config
from onnxq.errors import ConfigError, OnnxqError
from onnxq.terminal import console, is_standard_output, progress_bars

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["app", "main"]

_BUG, _INTERRUPTED = 1, 130
# Models are many small objects: looking for garbage at every 700 new ones takes 5 % of a run.
_OBJECTS_PER_COLLECTION = 20_000

_EXAMPLES = """Examples:

\b
  onnxq optimize resnet.onnx --data calibration.npz
  onnxq optimize yolo.onnx --data images/ --preprocess yolo -o yolo.int8.onnx
  onnxq optimize net.onnx --data images/ --preprocess imagenet --require 'agreement>=0.95'
  onnxq optimize net.onnx --data batch.npy --report net.html --json net.json

\b
Exit codes: 0 done, 2 an error that the message tells how to mend, 3 a --require is missed
(nothing is written), 130 interrupted, 1 a bug."""

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
        "--embed-preprocess",
        help="Put decoding (PNG, JPEG; needs onnxruntime-extensions) and that preprocessing into "
        "the model, which then takes the bytes of an image file.",
    ),
]
Samples = Annotated[
    int,
    typer.Option(metavar="N", help="Samples to use, spread over sub-folders; 0 = all."),
]
Weights = Annotated[int, typer.Option(metavar="BITS", help="Bits of a weight: 8, 4, 3 or 2.")]
Activations = Annotated[
    int,
    typer.Option(
        metavar="BITS",
        help="Bits of what layers multiply by their weights: 8, or 4 (8 at the first and the last "
        "layers).",
    ),
]
Calibration = Annotated[
    str,
    typer.Option(
        metavar="METHOD",
        help="How activation ranges are fitted: mse, minmax, kl, percentile[:PERCENT], lp:P with "
        "P from 1 to 4; adaptive-lp or pd, which choose P or the width by the loss at the outputs; "
        "auto, which tries all of these, the cheap ones first.",
    ),
]
Rounding = Annotated[
    str,
    typer.Option(
        metavar="METHOD",
        help="How weights of fewer than 8 bits are rounded: gptq+cd, gptq (by what comes out of "
        "their layers on the samples), or nearest.",
    ),
]
Granularity = Annotated[
    str, typer.Option(metavar="channel|tensor", help="One scale per output channel, or per weight.")
]
Format = Annotated[
    str, typer.Option(metavar="NAME", help="Form: qdq, or integer (nothing else within).")
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
Check = Annotated[bool, typer.Option("--check", help="Hold every pass to its contract (slower).")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors alone.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what every pass does; show tracebacks.")
]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from onnxq import __version__

        print(f"onnxq {__version__}")
        raise typer.Exit


@app.callback(epilog="'onnxq optimize --help' lists all options, with examples.")
def _onnxq(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version."),
    ] = False,
) -> None:
    """Turns an exported ONNX model into a small, fast and proven int8 model."""
    del version


@app.command(epilog=_EXAMPLES)
def optimize(
    model: Model,
    output: Output = Config.output,
    data: Data = None,
    preprocess: Preprocess = Config.preprocess,
    embed_preprocess: EmbedPreprocess = Config.embed_preprocess,
    samples: Samples = Config.samples,
    weights: Weights = Config.weights,
    activations: Activations = Config.activations,
    budget: Budget = None,
    sensitivity: Sensitivity = Config.sensitivity,
    calibration: Calibration = Config.calibration,
    rounding: Rounding = Config.rounding,
    weight_granularity: Granularity = Config.weight_granularity,
    target: Target = Config.target,
    format: Format = Config.format,
    keep_float: KeepFloat = None,
    require: Require = None,
    task: Task = Config.task,
    boxes: Boxes = "",
    scores: Scores = "",
    plan: Plan = Config.plan,
    save_plan: SavePlan = Config.save_plan,
    passes: Passes = "",
    skip: Skip = "",
    pipeline: Pipeline = None,
    opset: Opset = Config.opset,
    json: Json = Config.json,
    report: Report = Config.report,
    seed: Seed = Config.seed,
    threads: Threads = Config.threads,
    check: Check = Config.check,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Quantizes MODEL and proves what came out: size, latency, fidelity, what stayed float."""
    if quiet and verbose:
        raise ConfigError("--quiet and --verbose contradict each other; give one of them")
    # The parameters are the fields of Config by name; spelling each out again invites a slip.
    given = dict(locals())
    options = {name: value for name, value in given.items() if name in _FIELDS}
    if is_standard_output(json):
        options["json"] = None
    for name in ("budget", "keep_float", "require", "boxes", "scores", "passes", "skip"):
        options[name] = options[name] or ()
    shown = "json" if is_standard_output(json) else "nothing" if quiet else "text"
    _optimize(model, data, Config.of(options), shown=shown, verbose=verbose)


_FIELDS = frozenset(Config.__dataclass_fields__)


def _optimize(model: str, data: str | None, config: Config, *, shown: str, verbose: bool) -> None:
    if verbose:
        logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
        logging.getLogger("onnxq").setLevel(logging.DEBUG)
    with progress_bars(silent=shown == "nothing" or verbose) as progress:
        from onnxq.pipeline import optimize as run

        result = run(model, data, config, progress)
    if shown == "json":
        from onnxq.report.json_report import json_report

        print(json_report(result), end="")
    elif shown == "text":
        from onnxq.report.text import text_report

        console().print(text_report(result), crop=False)


commands.add_to(app)
export_commands.add_to(app)
lint_command.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: The words after the program's name; None = the process's own.
    """
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = typer.main.get_command(app).main(words, prog_name="onnxq", standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message()
        return _fail(message[:1].lower() + message[1:], error.exit_code)
    except OnnxqError as error:
        return _fail(str(error), error.exit_code)
    except MemoryError:
        return _fail("not enough memory for this model; close other programs", OnnxqError.exit_code)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:
        return _fail_unexpectedly(error, verbose=bool({"--verbose", "-v"} & {*words}))
    if code == _INTERRUPTED:
        return _fail("interrupted; nothing was written", _INTERRUPTED)
    return code or 0


def _fail(message: str, code: int) -> int:
    line = " ".join(part.strip() for part in message.splitlines() if part.strip())
    print(f"error: {line}", file=sys.stderr)
    return code


def _fail_unexpectedly(error: Exception, *, verbose: bool) -> int:
    if verbose:
        traceback.print_exception(error)
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    hint = "please report it" if verbose else "run again with --verbose and report what it shows"
    return _fail(f"this is a bug in onnxq; {hint} ({what})", _BUG)
