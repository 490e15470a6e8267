"""What the commands of all studies of trials have in common: options, progress, the table."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from pathlib import Path

__all__ = ["deliver", "study_parser", "tell_progress"]


def study_parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser of the options that every study takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--store", type=Path, required=True, help="JSON lines of what was measured")
    parser.add_argument(
        "--tasks", type=Path, help="Python file with more cases (tools.study.cases)"
    )
    parser.add_argument("--case", action="append", default=[], help="repeatable; default: all")
    parser.add_argument("--seeds", type=int, default=3, help="subsets of calibration samples")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--limit", type=int, help="labelled samples at most")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time, a process each")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no trial after this time"
    )
    parser.add_argument("--stored", action="store_true", help="measure nothing anew")
    parser.add_argument("--table", type=Path, help="Markdown to write")
    return parser


def tell_progress() -> None:
    """Prints what the study logs, and of the product warnings alone."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("onnxq").setLevel(logging.WARNING)


def deliver(text: str, missing: int, table: Path | None) -> None:
    """Prints the table and how many trials it lacks, and writes it."""
    if missing:
        sys.stdout.write(f"{missing} trials are missing still; run it again\n")
    if table is not None:
        table.write_text(text)
    sys.stdout.write(text)
