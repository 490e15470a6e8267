"""The fit of the cost table finds the coefficients that made the times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.plan.target import load_target
from tools import measure_costs
from tools.measure_costs import fit

if TYPE_CHECKING:
    from pathlib import Path

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


def test_what_it_prints_is_a_target_with_the_times_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [(row, 2e-5 * row["mac"] + 5, 1e-5 * row["mac"] + 7) for row in features()]
    monkeypatch.setattr(measure_costs, "conv_rows", lambda _: rows)
    monkeypatch.setattr(measure_costs, "product_rows", lambda: rows)
    measure_costs.main(["--extends", "cpu-vnni"])
    file = tmp_path / "mine.toml"
    file.write_text(capsys.readouterr().out)

    mine, other = load_target(str(file)), load_target("cpu-vnni")

    assert mine.costs is not None
    assert other.costs is not None
    assert mine.costs.real["dense"].mac_ns == pytest.approx(0.02)
    assert mine.costs.integer["dense"].call_us == pytest.approx(7)
    assert mine.costs.quantize == other.costs.quantize
    assert mine.ops == other.ops
