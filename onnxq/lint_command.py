"""The ``lint`` command."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.arguments import Model, Target
from onnxq.errors import ConfigError
from onnxq.terminal import console

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxq.report.lint_result import Linted

__all__ = ["add_to", "lint"]

_FOUND = 4
_FORMATS = ("text", "json", "sarif")
_LEVELS = ("error", "warning", "note", "never")

_EXAMPLES = """Examples:

\b
  onnxq lint net.int8.onnx
  onnxq lint net.int8.onnx --target tensorrt --fail-on error
  onnxq lint net.int8.onnx --target qnn --format sarif -o lint.sarif

\b
Exit codes: 0 nothing as bad as --fail-on, 4 something was found, 2 an error that the message tells
how to mend, 1 a bug."""

Format = Annotated[
    str, typer.Option(metavar="text|json|sarif", help="Form of what is printed or written.")
]
FailOn = Annotated[
    str,
    typer.Option(
        "--fail-on",
        metavar="error|warning|note|never",
        help="Exit with 4 if something that bad, or worse, was found.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write there instead of printing."),
]


def add_to(app: typer.Typer) -> None:
    """Gives the command line this command."""
    app.command(epilog=_EXAMPLES)(lint)


def lint(
    model: Model,
    target: Target = "cpu",
    format: Format = "text",
    output: Output = None,
    fail_on: FailOn = "warning",
) -> None:
    """Says what in MODEL will not run on integers on a target, every broken rule, and the mend."""
    for option, value, known in (("format", format, _FORMATS), ("fail-on", fail_on, _LEVELS)):
        if value not in known:
            raise ConfigError(f"--{option} '{value}' is unknown; choose {' or '.join(known)}")
    from onnxq.linting import lint as run

    linted = run(model, target)
    _deliver(linted, model, format, output)
    if _fails(linted, fail_on):
        raise typer.Exit(_FOUND)


def _deliver(linted: Linted, model: str, form: str, output: Path | None) -> None:
    from onnxq import __version__
    from onnxq.report.lint_json import lint_json, lint_sarif
    from onnxq.report.lint_text import lint_text

    if form == "text" and output is None:
        console().print(lint_text(linted), crop=False, soft_wrap=True)
        return
    if form == "text":
        text = _plain(lint_text(linted))
    else:
        text = lint_json(linted) if form == "json" else lint_sarif(linted, model, __version__)
    if output is None:
        sys.stdout.write(text)
        return
    from onnxq.atomic import pending_file

    with pending_file(output, "report") as pending:
        pending.write_bytes(text.encode("utf-8", "backslashreplace"))


def _plain(shown: RenderableType) -> str:
    """Returns what a terminal without colours would show."""
    from rich.console import Console

    page = io.StringIO()
    Console(file=page).print(shown, crop=False, soft_wrap=True)
    return page.getvalue()


def _fails(linted: Linted, level: str) -> bool:
    from onnxq.conformance.finding import Severity

    if level == "never" or linted.worst is None:
        return False
    return linted.worst.value >= Severity[level.upper()].value
