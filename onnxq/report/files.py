"""Writes reports so that a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from onnxq.atomic import pending_file
from onnxq.errors import OutputError
from onnxq.report.html_report import html_report
from onnxq.report.json_report import json_report

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from onnxq.config import Config
    from onnxq.report.result import Result

__all__ = ["check_reports", "write_reports"]


def check_reports(config: Config, taken: Iterable[Path | None] = ()) -> None:
    """Finds out early whether reports and plan can be written, leaving no trace.

    Args:
        config: Names them.
        taken: Files that they must not replace: what was given, and the model to be written.

    Raises:
        OutputError: One cannot, or would replace a model.
    """
    models = {os.path.realpath(path) for path in taken if path is not None}
    for path in (config.json, config.report, config.save_plan):
        if path is None:
            continue
        if os.path.realpath(path) in models:
            raise OutputError(f"{path}: is the model or its data; name another file")
        with pending_file(path, "report"):
            pass


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
    with pending_file(path, "report") as pending:
        pending.write_bytes(text.encode("utf-8", "backslashreplace"))
