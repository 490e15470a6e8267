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
from typing import TYPE_CHECKING, Annotated, cast

import typer

from onnxq import commands, export_commands, lint_command
from onnxq.arguments import (
    Boxes,
    Json,
    Model,
    Provider,
    Scores,
    Target,
    Task,
    Threads,
)
from onnxq.config import Config
from onnxq.errors import ConfigError, OnnxqError
from onnxq.optimize_arguments import (
    Activations,
    Budget,
    Calibration,
    Check,
    ConfigFile,
    Data,
    EmbedPreprocess,
    Format,
    Granularity,
    Io,
    KeepFloat,
    Minimize,
    Opset,
    Output,
    Pareto,
    Passes,
    Pipeline,
    Plan,
    Preprocess,
    Quiet,
    Report,
    Require,
    Rescale,
    Rounding,
    Samples,
    SavePlan,
    Seed,
    Sensitivity,
    Skip,
    Verbose,
    Weights,
)
from onnxq.project_file import ProjectFile
from onnxq.terminal import console, is_standard_output, progress_bars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from onnxq.passbase import Progress
    from onnxq.report.result import Result


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
  onnxq optimize net.onnx --config onnxq.toml        # found by itself in the current folder

\b
Exit codes: 0 done, 2 an error that the message tells how to mend, 3 a --require is missed
(nothing is written), 130 interrupted, 1 a bug."""

_EPILOG = """Examples:

\b
  onnxq optimize net.onnx --data images/ --preprocess imagenet
  onnxq COMMAND --help          # its options, with examples
  onnxq --install-completion    # for bash, zsh, fish and PowerShell

\b
Exit codes: 0 done, 2 an error that the message tells how to mend, 3 a --require is missed, 4 lint
found something, 130 interrupted, 1 a bug. NO_COLOR=1 prints without colours."""

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from onnxq import __version__

        print(f"onnxq {__version__}")
        raise typer.Exit


@app.callback(epilog=_EPILOG)
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
    context: typer.Context,
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
    minimize: Minimize = Config.minimize,
    pareto: Pareto = Config.pareto,
    calibration: Calibration = Config.calibration,
    rounding: Rounding = Config.rounding,
    weight_granularity: Granularity = Config.weight_granularity,
    target: Target = Config.target,
    provider: Provider = Config.provider,
    format: Format = Config.format,
    rescale: Rescale = Config.rescale,
    io: Io = Config.io,
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
    config: ConfigFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Quantizes MODEL and proves what came out: size, latency, fidelity, what stayed float."""
    if quiet and verbose:
        raise ConfigError("--quiet and --verbose contradict each other; give one of them")
    # The parameters are the fields of Config by name; spelling each out again invites a slip.
    given = dict(locals())
    named = {name: value for name, value in given.items() if name in _FIELDS}
    options, origins = ProjectFile.of(config).merged(named, _typed(context))
    if is_standard_output(json):
        options["json"] = None
    data = cast("str | None", options.pop("data"))
    for name in ("budget", "keep_float", "require", "boxes", "scores", "passes", "skip"):
        options[name] = options[name] or ()
    shown = "json" if is_standard_output(json) else "nothing" if quiet else "text"
    with _progress(shown, verbose=verbose) as progress:
        from onnxq.pipeline import optimize as run

        result = run(model, data, Config.of(options), progress, origins)
    _show(result, shown)


_FIELDS = frozenset({*Config.__dataclass_fields__, "data"})


def _typed(context: typer.Context) -> set[str]:
    """Returns the options that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _progress(shown: str, *, verbose: bool) -> AbstractContextManager[Progress | None]:
    if verbose:
        logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
        logging.getLogger("onnxq").setLevel(logging.DEBUG)
    return progress_bars(silent=shown == "nothing" or verbose)


def _show(result: Result, shown: str) -> None:
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
