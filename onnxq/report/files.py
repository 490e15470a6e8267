"""Writes reports so that a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.errors import OutputError
from onnxq.report.html_report import html_report
from onnxq.report.json_report import json_report

if TYPE_CHECKING:
    from onnxq.config import Config
    from onnxq.report.result import Result

__all__ = ["write_reports"]


def write_reports(result: Result, config: Config) -> None:
    """Writes the reports that ``config`` names, each all or nothing.

    Raises:
        OutputError: A file cannot be written.
    """
    if config.json is not None:
        _write(config.json, json_report(result))
    if config.report is not None:
        _write(config.report, html_report(result))


def _write(path: Path, text: str) -> None:
    """Writes to a temporary file beside the target, then renames it."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: is not a regular file; name another one for the report")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".onnxq-") as folder:
            pending = Path(folder) / target.name
            pending.write_bytes(text.encode("utf-8", "backslashreplace"))
            pending.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path}: the report cannot be written ({reason}); name another file"
        ) from None
