"""Trials are measured once, on labelled data, and remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tools.study.cases import cases_of
from tools.study.trials import Measured, Store, Trial, measure

if TYPE_CHECKING:
    from pathlib import Path

    from tools.study.case import Case

NAME = "digits_mobilenetv2"


@pytest.fixture(scope="module")
def case() -> Case:
    (found,) = cases_of(None, [NAME], limit=20)
    return found


def test_a_trial_measures_labels_agreement_and_size(case: Case) -> None:
    trial = Trial.of(NAME, {"skip": "keep-signal"}, seed=0, samples=4)

    found = measure(trial, case)

    assert found.drop == pytest.approx(case.base.metric - found.metric)
    assert 50 <= found.fidelity <= 100
    assert 0.2 < found.size < 0.5
    assert "fold-batchnorm" in found.fired
    assert "keep-signal" not in found.fired


def test_a_refusal_is_a_result(case: Case) -> None:
    found = measure(Trial.of(NAME, {"skip": "fit-weights"}, 0, 4), case)

    assert "nothing works without it" in found.error
    assert np.isnan(found.metric)


def test_a_seed_draws_a_subset(case: Case) -> None:
    (one,), (again,), (other,) = (case.calibration(seed, 8).values() for seed in (1, 1, 2))

    assert len(one) == len(np.unique(one, axis=0)) == 8
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_same_model_is_not_looked_at_twice(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = measure(Trial.of(NAME, {}, 0, 4), case)
    monkeypatch.setattr(case, "find", lambda _: pytest.fail("measured again"))

    same = measure(Trial.of(NAME, {"passes": "+split-outliers"}, 0, 4), case, plain)

    assert same == replace(plain, seconds=same.seconds)


def test_a_store_gives_back_what_another_run_measured(tmp_path: Path) -> None:
    trial, found = Trial.of(NAME, {"weights": 8}, 0, 4), Measured(fidelity=93.0, fired=("a", "b"))
    Store(tmp_path / "store").put(trial, found)

    (again,) = Store(tmp_path / "store").rows.items()

    assert again[0] == trial
    assert again[1].fidelity == 93.0
    assert again[1].fired == ("a", "b")


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(SystemExit, match="no case 'digits'; there are digits_mobilenetv2"):
        cases_of(None, ["digits"])


def test_a_file_of_tasks_adds_cases(tmp_path: Path, case: Case) -> None:
    path = tmp_path / "more.py"
    path.write_text(
        "from types import SimpleNamespace\n"
        "import numpy as np\n"
        f"TASKS = {{'own': SimpleNamespace(kind='classification', model={str(case.model)!r})}}\n"
        "def calibration_batch(task, n): return np.zeros((3, 3, 64, 64))\n"
        "def predict(task, run, limit):\n"
        "    sample = np.zeros((1, 3, 64, 64), np.float32)\n"
        "    return [int(run(sample)[0].argmax())] * limit\n"
        "def metric(task, found): return 40.0 + len(found)\n"
        "def fidelity(task, base, found): return 100.0 * (base == found)\n"
    )

    (own,) = cases_of(path, ["own"], limit=2)

    assert own.base.metric == 42.0
    assert own.fidelity(own.base) == 100.0
    assert next(iter(own.calibration(0, 2).values())).dtype == np.float32
