"""The fit of the cost table finds the coefficients that made the times."""

from __future__ import annotations

import numpy as np
import pytest

from tools.measure_costs import fit

NAMES = ("mac", "output", "patch", "call")


def features(count: int = 12) -> list[dict[str, float]]:
    numbers = np.random.default_rng(0).uniform(1e3, 1e6, (count, 3))
    return [dict(zip(NAMES, (*row, 1.0), strict=True)) for row in numbers]


def test_exact_times_give_the_coefficients_back() -> None:
    wanted = {"mac": 2e-5, "output": 3e-4, "patch": 0.0, "call": 5.0}
    rows = features()
    found = fit(rows, [sum(wanted[name] * row[name] for name in NAMES) for row in rows])
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_coefficients_are_never_negative() -> None:
    rows = features()
    found = fit(rows, [100 / row["mac"] for row in rows])
    assert min(found.values()) >= 0


def test_a_feature_that_never_occurs_costs_nothing() -> None:
    rows = [{**row, "patch": 0.0} for row in features()]
    found = fit(rows, [2e-5 * row["mac"] + 5 for row in rows])
    assert found["patch"] == 0
    assert found["mac"] == pytest.approx(2e-5)
