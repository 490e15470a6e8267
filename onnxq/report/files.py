"""Writes reports and plan so that a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from onnxq.atomic import pending_file
from onnxq.errors import OutputError
from onnxq.plan.plan_file import plan_text
from onnxq.report.front import front_csv
from onnxq.report.html_report import html_report
from onnxq.report.json_report import json_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
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
    for path in (config.json, config.report, config.save_plan, config.pareto):
        if path is None:
            continue
        if os.path.realpath(path) in models:
            raise OutputError(f"{path}: is the model or its data; name another file")
        with pending_file(path, "report"):
            pass


def write_reports(result: Result, config: Config) -> None:
    """Writes the plan and the reports that ``config`` names: all of them, or none.

    Raises:
        OutputError: A file cannot be written.
    """
    makers: list[tuple[Path | None, str, Callable[[], str]]] = [
        (config.save_plan, "plan", lambda: plan_text(result.plan)),
        (config.json, "report", lambda: json_report(result)),
        (config.report, "report", lambda: html_report(result)),
        (config.pareto, "front", lambda: front_csv(result.front)),
    ]
    with contextlib.ExitStack() as stack:
        for path, what, text in makers:
            if path is not None:
                pending = stack.enter_context(pending_file(path, what))
                pending.write_bytes(text().encode("utf-8", "backslashreplace"))
