"""The command line of studies that compare the values of one option."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tools.study.cases import cases_of
from tools.study.command import deliver, study_parser, tell_progress
from tools.study.methods import Plan, methods_table, models_table
from tools.study.sequence import measure_trials
from tools.study.trials import Store
from tools.study.workers import workers

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["compare"]


def compare(about: str, option: str, methods: Sequence[str], settings: Sequence[str]) -> None:
    """Parses the command line, measures and writes the tables.

    Args:
        about: What the command is for, one line.
        option: Name of the option.
        methods: The values that it can have.
        settings: Those to compare them in.
    """
    parser = study_parser(about)
    parser.add_argument("--method", action="append", choices=methods, help="default: all")
    parser.add_argument("--setting", action="append", choices=settings, help="default: all")
    options = parser.parse_args()
    tell_progress()
    cases = {case.name: case.detects for case in cases_of(options.tasks, options.case)}
    chosen = options.method or methods, options.setting or settings
    plan = Plan(cases, chosen[1], chosen[0], options.seeds, options.samples, option)
    store = Store(options.store)
    missing = 0
    if not options.stored:
        until = time.monotonic() + 60 * options.minutes
        with workers(options.jobs, options.tasks, list(cases), options.limit) as submit:
            missing = measure_trials(
                plan.trials(), store, submit=submit, jobs=options.jobs, until=until
            )
    tables = [
        methods_table(plan, store.rows),
        models_table(plan, store.rows),
        models_table(plan, store.rows, "drop"),
    ]
    deliver("\n".join(tables), missing, options.table)
