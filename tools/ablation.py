"""Switches every pass off, or on where it runs on request, and measures what that changes.

    python -m tools.ablation --store ablation.jsonl                       # the shipped models
    python -m tools.ablation --store ablation.jsonl --tasks bench/tasks.py --table ablation.md

A pass that changed nothing is not measured again: without it the result is the same. The store
holds what was measured; a run that was stopped, or whose ``--minutes`` were over, goes on there.
Labels: ``fidelity`` is agreement with the float model (top-1, or F1 of boxes), ``drop`` is what
the metric (top-1, mAP) loses.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import sys
import time
from pathlib import Path

from tools.study.cases import cases_of
from tools.study.effects import effects_table
from tools.study.schedule import measure_missing
from tools.study.switching import SETTINGS, Run, effects_of, switchable
from tools.study.trials import Store
from tools.study.workers import workers


def main() -> None:
    """Parses the command line, measures and writes the table."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("onnxq").setLevel(logging.WARNING)
    passes, store = switchable(options.passes), Store(options.store)
    names = [case.name for case in cases_of(options.tasks, options.case)]
    combined = itertools.product(names, options.setting or SETTINGS, range(options.seeds))
    runs = [Run(*one, options.samples) for one in combined]
    if not options.stored:
        until = time.monotonic() + 60 * options.minutes
        with workers(options.jobs, options.tasks, names, options.limit) as submit:
            missing = measure_missing(
                runs, passes, store, submit=submit, jobs=options.jobs, until=until
            )
        if missing:
            print(f"{missing} trials are missing still; run it again")
    effects = [effect for run in runs for effect in effects_of(run, passes, store.rows)]
    text = effects_table(effects, len(names) * options.seeds)
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
    parser.add_argument("--pass", action="append", default=[], dest="passes", help="repeatable")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help="subsets of calibration samples")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--limit", type=int, help="labelled samples at most")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time, a process each")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no trial after this time"
    )
    parser.add_argument("--stored", action="store_true", help="measure nothing anew")
    parser.add_argument("--table", type=Path, help="Markdown table to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
