"""Trials come in an order that leaves no worker idle for long."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import TYPE_CHECKING

from tools.study.schedule import measure_missing
from tools.study.switching import Run, switchable
from tools.study.trials import Measured, Store, Trial

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

RUNS = [Run("light", "w8a8", 0, 4), Run("heavy", "w8a8", 0, 4), Run("middle", "w8a8", 0, 4)]
SECONDS = {"light": 1.0, "middle": 5.0, "heavy": 9.0}
SLOW = "correct-bias"


class _Workers:
    """Knows what comes of a trial as soon as it is asked."""

    def __init__(self, broken: str = "") -> None:
        self.asked: list[tuple[str, str, bool]] = []
        self._broken = broken

    def submit(self, trial: Trial, plain: Measured | None) -> Future[Measured]:
        switched = str(dict(trial.options).get("skip", ""))
        self.asked.append((trial.case, switched, plain is not None))
        future: Future[Measured] = Future()
        if switched and switched == self._broken:
            future.set_exception(RuntimeError("a bug"))
        else:
            seconds = SECONDS[trial.case] * (10 if switched == SLOW else 1)
            future.set_result(Measured(fired=("correct-bias", "share-params"), seconds=seconds))
        return future


def _measure(store: Store, workers: _Workers, until: float = math.inf, jobs: int = 1) -> int:
    passes = switchable(["share-params", "correct-bias"])
    return measure_missing(RUNS, passes, store, submit=workers.submit, jobs=jobs, until=until)


def test_what_tells_most_comes_first_and_then_what_takes_longest(tmp_path: Path) -> None:
    workers = _Workers()

    assert _measure(Store(tmp_path / "store"), workers) == 0

    assert workers.asked == [
        ("light", "", False),
        ("heavy", "", False),
        ("middle", "", False),
        ("heavy", "share-params", True),
        ("heavy", "correct-bias", True),
        ("middle", "correct-bias", True),
        ("light", "correct-bias", True),
        ("middle", "share-params", True),
        ("light", "share-params", True),
    ]


def test_what_is_stored_is_not_measured_again(tmp_path: Path) -> None:
    _measure(Store(tmp_path / "store"), _Workers())
    workers = _Workers()

    assert _measure(Store(tmp_path / "store"), workers, jobs=3) == 0
    assert workers.asked == []


def test_nothing_is_begun_when_time_is_up(tmp_path: Path) -> None:
    workers = _Workers()

    assert _measure(Store(tmp_path / "store"), workers, until=-math.inf) == len(RUNS)
    assert workers.asked == []


def test_one_that_raises_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "store")

    assert _measure(store, _Workers(broken="share-params"), jobs=2) == len(RUNS)

    assert len(store.rows) == 2 * len(RUNS)
    assert "RuntimeError: a bug" in caplog.text
