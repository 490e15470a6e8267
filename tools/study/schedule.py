"""The order in which trials are measured, as many at a time as there are workers.

1. Trials with nothing switched come first: they tell which others there are, and what those cost.
2. Of the others the most expensive come first, lest the last one keeps all waiting. Switching a
   pass multiplies the cost by what it did elsewhere at most; of what was tried nowhere yet, the
   worst is feared.
"""

from __future__ import annotations

import json
import logging
import math
import time
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from tools.study.switching import trials_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from onnxq.registry import PassRow
    from tools.study.switching import Run
    from tools.study.trials import Measured, Store, Trial

    Submit = Callable[[Trial, Measured | None], Future[Measured]]

__all__ = ["measure_missing"]

logger = logging.getLogger(__name__)


class _Missing(NamedTuple):
    """A trial that is to be measured.

    Attributes:
        trial: The trial.
        run: What it belongs to.
        plain: What came of the run with nothing switched; None if this is that trial.
    """

    trial: Trial
    run: Run
    plain: Measured | None

    @property
    def switched(self) -> frozenset[tuple[str, int | str]]:
        """What distinguishes it from the trial with nothing switched."""
        return frozenset(self.trial.options) - frozenset(self.run.trial().options)


def measure_missing(
    runs: Sequence[Run],
    passes: Sequence[PassRow],
    store: Store,
    *,
    submit: Submit,
    jobs: int,
    until: float,
) -> int:
    """Measures what ``store`` lacks. What raises is logged, and not stored.

    Args:
        runs: What passes are switched in.
        passes: Those to switch.
        store: What is measured already; gets what comes.
        submit: Measures a trial in the background, given what came with nothing switched.
        jobs: How many to measure at a time.
        until: No trial is begun after this time, in seconds of ``time.monotonic``.

    Returns:
        Number of trials that are known to be missing still.
    """
    queue = _Queue(passes, store)
    for run in runs:
        queue.add(run)
    running: dict[Future[Measured], _Missing] = {}
    failed = 0
    while True:
        while queue.waiting and len(running) < jobs and time.monotonic() < until:
            one = queue.take()
            running[submit(one.trial, one.plain)] = one
        if not running:
            return failed + len(queue.waiting)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            failed += not queue.finish(running.pop(future), future)


class _Queue:
    """The trials that are known to be missing.

    Attributes:
        waiting: Those that nobody has begun.
    """

    def __init__(self, passes: Sequence[PassRow], store: Store) -> None:
        self.waiting: list[_Missing] = []
        self._passes = passes
        self._store = store
        self._ratios: dict[frozenset[tuple[str, int | str]], float] = {}

    def add(self, run: Run) -> None:
        """Adds what is missing of a run, as far as it is known."""
        plain = self._store.rows.get(run.trial())
        if plain is None:
            self.waiting.append(_Missing(run.trial(), run, None))
            return
        for trial in trials_of(run, plain, self._passes):
            one, measured = _Missing(trial, run, plain), self._store.rows.get(trial)
            if measured is None:
                self.waiting.append(one)
            else:
                self._learn(one, measured)

    def take(self) -> _Missing:
        """Takes the one to measure next."""
        one = max(self.waiting, key=self._cost)
        self.waiting.remove(one)
        return one

    def finish(self, one: _Missing, future: Future[Measured]) -> bool:
        """Stores what came of a trial, and adds what that makes known.

        Returns:
            False if it raised.
        """
        try:
            measured = future.result()
        except BrokenExecutor:
            raise
        except Exception:
            logger.exception("%s failed", one.trial)
            return False
        self._store.put(one.trial, measured)
        logger.info("%s", json.dumps({**asdict(one.trial), "fidelity": measured.fidelity}))
        if one.plain is None:
            self.add(one.run)
        self._learn(one, measured)
        return True

    def _cost(self, one: _Missing) -> tuple[float, float]:
        if one.plain is None:
            return math.inf, math.inf
        ratio = self._ratios.get(one.switched, math.inf)
        return ratio * one.plain.seconds, one.plain.seconds

    def _learn(self, one: _Missing, measured: Measured) -> None:
        if one.plain is not None and one.plain.seconds > 0:
            ratio = measured.seconds / one.plain.seconds
            self._ratios[one.switched] = max(ratio, self._ratios.get(one.switched, 0.0))
