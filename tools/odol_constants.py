"""Halves and doubles each constant of the object detection output loss, and measures what follows.

    python -m tools.odol_constants --case digits_yolo --seeds 3 --jobs 2

``adaptive-lp`` chooses ranges by the loss (``onnxq/tasks/odol.py``) at 4 bits of activations, where
ranges matter. Fidelity (F1 of boxes against the float model) and drop (of mAP) are measured on
labelled pictures.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from onnxq.tasks import odol
from tools.study.cases import cases_of
from tools.study.trials import Measured, Trial, measure

CONSTANTS = ("FOREGROUND", "BACKGROUND", "LOCALISATION", "INWARD")
OPTIONS: dict[str, int | str] = {"activations": 4, "calibration": "adaptive-lp"}


class Variant(NamedTuple):
    """One constant, changed.

    Attributes:
        constant: Its name; empty = none is changed.
        factor: What it is multiplied by.
    """

    constant: str = ""
    factor: float = 1.0

    def __str__(self) -> str:
        if not self.constant:
            return "as they are"
        value = getattr(odol, self.constant)
        return f"{self.constant} {value:g} → {value * self.factor:g}"


VARIANTS = (Variant(), *(Variant(*one) for one in itertools.product(CONSTANTS, (0.5, 2.0))))


def measured(variant: Variant, seed: int, options: argparse.Namespace) -> Measured:
    """Returns what comes of one variant; the loss reads its constants as it runs."""
    (case,) = cases_of(options.tasks, [options.case], options.limit)
    trial = Trial.of(case.name, OPTIONS, seed, options.samples)
    if not variant.constant:
        return measure(trial, case)
    changed = getattr(odol, variant.constant) * variant.factor
    with mock.patch.object(odol, variant.constant, changed):
        return measure(trial, case)


def table(found: dict[Variant, list[Measured]]) -> str:
    """Returns a Markdown table: a row for each variant; ± is the deviation over seeds."""
    lines = ["| constants | fidelity | drop | SQNR, dB |", "|---|---|---|---|"]
    for variant, runs in found.items():
        cells = [_cell([getattr(run, f) for run in runs]) for f in ("fidelity", "drop", "sqnr")]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def main() -> None:
    """Parses the command line, measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="digits_yolo", help="a detector")
    parser.add_argument("--tasks", type=Path, help="Python file with more cases")
    parser.add_argument("--seeds", type=int, default=3, help="subsets of calibration samples")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--limit", type=int, help="labelled samples at most")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    runs = list(itertools.product(VARIANTS, range(options.seeds)))
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as executor:
        futures = [executor.submit(measured, *run, options) for run in runs]
        results = [future.result() for future in futures]
    found = {
        variant: [result for (one, _), result in zip(runs, results, strict=True) if one == variant]
        for variant in VARIANTS
    }
    sys.stdout.write(table(found))


if __name__ == "__main__":
    main()
