"""The study of bits: what it tries, and its random choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tools.bit_study import random_costs, trials
from tools.study.trials import Measured, Store

if TYPE_CHECKING:
    from pathlib import Path


def test_sizes_of_uniform_weights_are_budgets_once_they_are_known(tmp_path: Path) -> None:
    store = Store(tmp_path / "bits.jsonl")
    kinds = []
    for kind, trial in trials("net", 0, 32, ["quadratic"], store):
        store.put(trial, Measured(size=0.05 * len(store.rows) + 0.1234567))
        kinds.append(kind)
    budgets = {dict(trial.options).get("budget") for trial in store.rows}

    assert kinds[:3] == ["uniform"] * 3
    assert {"size=0.12346x", "size=0.17346x", "avg-weight-bits=5"} <= budgets
    assert kinds[3:] == ["quadratic", "random"] * 5


def test_random_costs_are_by_number_and_stay() -> None:
    changes = {
        name: {bits: {name: np.zeros(size)} for bits in (2, 4)}
        for name, size in (("small", 10), ("large", 1000))
    }
    costs = random_costs(3)
    first, again = costs(None, None, None, changes), costs(None, None, None, changes)

    assert first == again
    assert first["small"][2] == 16 * first["small"][4]
    assert random_costs(4)(None, None, None, changes) != first
