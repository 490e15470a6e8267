"""Trials measured in the order in which they are given, as many at a time as there are workers."""

from __future__ import annotations

import logging
import time
from concurrent.futures import FIRST_COMPLETED, wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from tools.study.schedule import Submit
    from tools.study.trials import Measured, Store, Trial

__all__ = ["measure_trials"]

logger = logging.getLogger(__name__)


def measure_trials(
    trials: Sequence[Trial], store: Store, *, submit: Submit, jobs: int, until: float
) -> int:
    """Measures what ``store`` lacks, in order. What raises is logged, and not stored.

    Args:
        trials: What to measure.
        store: What is measured already; gets what comes.
        submit: Measures a trial in the background.
        jobs: How many to measure at a time.
        until: No trial is begun after this time, in seconds of ``time.monotonic``.

    Returns:
        Number of trials that are missing still.
    """
    waiting = [trial for trial in reversed(trials) if trial not in store.rows]
    running: dict[Future[Measured], Trial] = {}
    failed = 0
    while True:
        while waiting and len(running) < jobs and time.monotonic() < until:
            trial = waiting.pop()
            running[submit(trial, None)] = trial
        if not running:
            return failed + len(waiting)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            trial = running.pop(future)
            if (error := future.exception()) is not None:
                failed += 1
                logger.error("%s failed: %s", trial, error)
                continue
            store.put(trial, future.result())
            logger.info("%s %s: %s", trial.case, dict(trial.options), future.result().fidelity)
