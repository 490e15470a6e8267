"""Where commands print, and how they show that they are at work."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from onnxq.manager import Progress

__all__ = ["console", "is_standard_output", "progress_bars"]

_PIPED_WIDTH = 120


def console() -> Console:
    """Returns standard output; what is no terminal gets lines wide enough for a report."""
    from rich.console import Console

    fixed = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if fixed else _PIPED_WIDTH)


def is_standard_output(path: Path | None) -> bool:
    """Says whether ``-`` was given for a file: then standard output is the file's alone."""
    return path is not None and str(path) == "-"


def progress_bars(*, silent: bool = False) -> contextlib.AbstractContextManager[Progress | None]:
    """Bars on standard error, or nothing where nobody would see them."""
    if silent or not sys.stderr.isatty():
        return contextlib.nullcontext()
    from rich.console import Console

    from onnxq.report.progress import StageBars

    return StageBars(Console(stderr=True))
