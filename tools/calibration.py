"""Measures how ranges are fitted, method against method, at 8 and 4 bits of activations.

    python -m tools.calibration --store calibration.jsonl                        # shipped models
    python -m tools.calibration --store calibration.jsonl --tasks bench/tasks.py --jobs 16 \
        --minutes 8 --table calibration.md

The store holds what was measured; a run that was stopped, or whose ``--minutes`` were over, goes on
there. Labels: ``fidelity`` is agreement with the float model (top-1, or F1 of boxes), ``drop`` is
what the metric (top-1, mAP) loses, ``seconds`` are of a processor.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from pathlib import Path

from tools.study.cases import cases_of
from tools.study.methods import (
    METHODS,
    SETTINGS,
    Plan,
    measure_trials,
    methods_table,
    models_table,
)
from tools.study.trials import Store
from tools.study.workers import workers


def main() -> None:
    """Parses the command line, measures and writes the tables."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("onnxq").setLevel(logging.WARNING)
    cases = {case.name: case.detects for case in cases_of(options.tasks, options.case)}
    methods, settings = options.method or METHODS, options.setting or list(SETTINGS)
    plan = Plan(cases, settings, methods, options.seeds, options.samples)
    store = Store(options.store)
    if not options.stored:
        until = time.monotonic() + 60 * options.minutes
        with workers(options.jobs, options.tasks, list(cases), options.limit) as submit:
            missing = measure_trials(
                plan.trials(), store, submit=submit, jobs=options.jobs, until=until
            )
        if missing:
            print(f"{missing} trials are missing still; run it again")
    text = f"{methods_table(plan, store.rows)}\n{models_table(plan, store.rows)}"
    if options.table is not None:
        options.table.write_text(text)
    sys.stdout.write(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="JSON lines of what was measured")
    parser.add_argument(
        "--tasks", type=Path, help="Python file with more cases (tools.study.cases)"
    )
    parser.add_argument("--case", action="append", default=[], help="repeatable; default: all")
    parser.add_argument("--method", action="append", choices=METHODS, help="default: all")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help="subsets of calibration samples")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--limit", type=int, help="labelled samples at most")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time, a process each")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no trial after this time"
    )
    parser.add_argument("--stored", action="store_true", help="measure nothing anew")
    parser.add_argument("--table", type=Path, help="Markdown tables to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
