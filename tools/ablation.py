"""Switches every pass off, or on where it runs on request, and measures what that changes.

    python -m tools.ablation --store ablation.jsonl                       # the shipped models
    python -m tools.ablation --store ablation.jsonl --tasks bench/tasks.py --table ablation.md

A pass that changed nothing is not measured again: without it the result is the same. The store
holds what was measured; a run that was stopped, or whose ``--minutes`` were over, goes on there.
Labels: ``fidelity`` is agreement with the float model (top-1, or F1 of boxes), ``drop`` is what
the metric (top-1, mAP) loses.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from tools.study.cases import cases_of
from tools.study.command import deliver, study_parser, tell_progress
from tools.study.effects import effects_table
from tools.study.schedule import measure_missing
from tools.study.switching import SETTINGS, Run, effects_of, switchable
from tools.study.trials import Store
from tools.study.workers import workers

if TYPE_CHECKING:
    import argparse


def main() -> None:
    """Parses the command line, measures and writes the table."""
    options = _options()
    tell_progress()
    passes, store = switchable(options.passes), Store(options.store)
    names = [case.name for case in cases_of(options.tasks, options.case)]
    combined = itertools.product(names, options.setting or SETTINGS, range(options.seeds))
    runs = [Run(*one, options.samples) for one in combined]
    missing = 0
    if not options.stored:
        until = time.monotonic() + 60 * options.minutes
        with workers(options.jobs, options.tasks, names, options.limit) as submit:
            missing = measure_missing(
                runs, passes, store, submit=submit, jobs=options.jobs, until=until
            )
    effects = [effect for run in runs for effect in effects_of(run, passes, store.rows)]
    text = effects_table(effects, len(names) * options.seeds)
    deliver(text, missing, options.table)


def _options() -> argparse.Namespace:
    parser = study_parser(__doc__.splitlines()[0])
    parser.add_argument("--pass", action="append", default=[], dest="passes", help="repeatable")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="default: all")
    return parser.parse_args()


if __name__ == "__main__":
    main()
