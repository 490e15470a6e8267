from __future__ import annotations

import math
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from tools.study.sequence import measure_trials
from tools.study.trials import Measured, Store, Trial

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_stored_is_not_measured_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.jsonl")
    trials = [Trial.of("net", {"weights": bits}, 0, 8) for bits in range(2, 8)]
    store.put(trials[0], Measured(fidelity=1.0))
    asked = []

    def submit(trial: Trial, _plain: Measured | None) -> Future[Measured]:
        asked.append(trial)
        future: Future[Measured] = Future()
        if len(asked) == 2:
            future.set_exception(ValueError("broken"))
        else:
            future.set_result(Measured(fidelity=2.0))
        return future

    missing = measure_trials(trials, store, submit=submit, jobs=2, until=math.inf)
    late = measure_trials(trials, store, submit=submit, jobs=2, until=time.monotonic() - 1)

    assert asked == trials[1:]
    assert missing == late == 1
    assert len(Store(tmp_path / "store.jsonl").rows) == len(trials) - 1
