"""Compares bits chosen by sensitivity with uniform ones and with a random choice of the same size.

    python -m tools.bit_study --store bits.jsonl                          # the shipped models
    python -m tools.bit_study --store bits.jsonl --tasks bench/tasks.py --table bits.md

Each budget is met by the integer program, once with the sensitivities that ``--sensitivity`` names
and once with random ones. Budgets are averages of stored bits, and the sizes that uniform weights
of 2 and 4 bits have. Opset 25 throughout, which stores 2 bits as such. The store holds what was
measured; a run that was stopped, or whose ``--minutes`` were over, goes on there. It does not tell
how many labelled samples there were: give a case the same ``--limit`` every time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from onnxq.options import SENSITIVITIES
from tools.study.bit_table import bit_table
from tools.study.bits import Plan, measure_bits
from tools.study.cases import cases_of
from tools.study.command import deliver, study_parser, tell_progress
from tools.study.sequence import measure_trials
from tools.study.trials import Store
from tools.study.workers import workers

if TYPE_CHECKING:
    import argparse


def main() -> None:
    """Parses the command line, measures and writes the table."""
    options = _options()
    tell_progress()
    names = [case.name for case in cases_of(options.tasks, options.case)]
    plan = Plan(names, options.sensitivity or SENSITIVITIES[:1], options.seeds, options.samples)
    store = Store(options.store)
    missing = 0
    if not options.stored:
        until = time.monotonic() + 60 * options.minutes
        with workers(options.jobs, options.tasks, names, options.limit, measure_bits) as submit:
            for trials in (plan.uniform, lambda: plan.chosen(store.rows)):
                missing += measure_trials(
                    trials(), store, submit=submit, jobs=options.jobs, until=until
                )
    deliver(bit_table(store.rows), missing, options.table)


def _options() -> argparse.Namespace:
    parser = study_parser((__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sensitivity", action="append", choices=SENSITIVITIES, help="repeatable; default: auto"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
