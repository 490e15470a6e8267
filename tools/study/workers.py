"""Processes that measure trials, each on one thread."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tools.study.cases import cases_of
from tools.study.trials import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from tools.study.case import Case, Found
    from tools.study.schedule import Submit
    from tools.study.trials import Measured, Trial

    Measure = Callable[[Trial, Case, Measured | None], Measured]

__all__ = ["workers"]

_cases: dict[str, Case] = {}
"""The cases of a worker, by name."""


@contextmanager
def workers(
    jobs: int,
    tasks: Path | None,
    names: Sequence[str],
    limit: int | None,
    run: Measure = measure,
) -> Iterator[Submit]:
    """Yields what hands a trial over to one of ``jobs`` processes.

    What the float models find is found once, and given to all.

    Args:
        jobs: How many.
        tasks: File with more cases; None for none (:func:`tools.study.cases.cases_of`).
        names: Of the cases.
        limit: Number of labelled samples to use; None = all.
        run: Measures a trial; a function of a module, as processes find it by its name.
    """
    # Read by the libraries below numpy as they are loaded.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(jobs, len(names)), context, _open, (tasks, names, limit, {})
    ) as executor:
        base = dict(zip(names, executor.map(_base, names), strict=True))
    with ProcessPoolExecutor(jobs, context, _open, (tasks, names, limit, base)) as executor:

        def submit(trial: Trial, plain: Measured | None) -> Future[Measured]:
            return executor.submit(_measure, run, trial, plain)

        yield submit


def _open(
    tasks: Path | None, names: Sequence[str], limit: int | None, base: Mapping[str, Found]
) -> None:
    for case in cases_of(tasks, names, limit):
        _cases[case.name] = case
        if case.name in base:
            case.base = base[case.name]


def _base(name: str) -> Found:
    return _cases[name].base


def _measure(run: Measure, trial: Trial, plain: Measured | None) -> Measured:
    return run(trial, _cases[trial.case], plain)
