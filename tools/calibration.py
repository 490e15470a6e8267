"""Measures how ranges are fitted, method against method, at 8 and 4 bits of activations.

    python -m tools.calibration --store calibration.jsonl                        # shipped models
    python -m tools.calibration --store calibration.jsonl --tasks bench/tasks.py --jobs 16 \
        --minutes 8 --table calibration.md

The store holds what was measured; a run that was stopped, or whose ``--minutes`` were over, goes on
there. Labels: ``fidelity`` is agreement with the float model (top-1, or F1 of boxes), ``drop`` is
what the metric (top-1, mAP) loses, ``seconds`` are of a processor.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tools.study.cases import cases_of
from tools.study.command import deliver, study_parser, tell_progress
from tools.study.methods import (
    METHODS,
    SETTINGS,
    Plan,
    methods_table,
    models_table,
)
from tools.study.sequence import measure_trials
from tools.study.trials import Store
from tools.study.workers import workers

if TYPE_CHECKING:
    import argparse


def main() -> None:
    """Parses the command line, measures and writes the tables."""
    options = _options()
    tell_progress()
    cases = {case.name: case.detects for case in cases_of(options.tasks, options.case)}
    methods, settings = options.method or METHODS, options.setting or list(SETTINGS)
    plan = Plan(cases, settings, methods, options.seeds, options.samples)
    store = Store(options.store)
    missing = 0
    if not options.stored:
        until = time.monotonic() + 60 * options.minutes
        with workers(options.jobs, options.tasks, list(cases), options.limit) as submit:
            missing = measure_trials(
                plan.trials(), store, submit=submit, jobs=options.jobs, until=until
            )
    text = f"{methods_table(plan, store.rows)}\n{models_table(plan, store.rows)}"
    deliver(text, missing, options.table)


def _options() -> argparse.Namespace:
    parser = study_parser(__doc__.splitlines()[0])
    parser.add_argument("--method", action="append", choices=METHODS, help="default: all")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="default: all")
    return parser.parse_args()


if __name__ == "__main__":
    main()
