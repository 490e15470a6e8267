"""Methods against each other: what is measured, in which order, and the tables."""

from __future__ import annotations

from tools.study.methods import Plan, methods_table, models_table
from tools.study.trials import Measured, Trial

METHODS = ("mse", "lp:3", "pd")
PLAN = Plan({"a": False, "b": False, "box": True}, ["w8a4"], METHODS, seeds=2, samples=8)


def rows(*missing: str) -> dict[Trial, Measured]:
    """Fidelity is 90, one more in seed 1, more by the method, and less in case "b"."""
    more = {"mse": 0.0, "lp:3": 2.0, "pd": 4.0}
    return {
        PLAN.trial(case, "w8a4", method, seed): Measured(
            fidelity=90 + seed + more[method] - 4 * (case == "b"), drop=1.5, sqnr=20.0, seconds=3.0
        )
        for case in PLAN.cases
        if case not in missing
        for method in METHODS
        for seed in range(2)
    }


def cells(table: str, method: str) -> list[str]:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return next(line for line in lines if line[1] == method)


def test_searches_come_first_and_seeds_one_after_the_other() -> None:
    trials = PLAN.trials()

    assert [dict(trial.options)["calibration"] for trial in trials[:3]] == ["pd"] * 3
    assert [trial.seed for trial in trials] == [0] * 9 + [1] * 9
    assert dict(trials[0].options)["activations"] == 4


def test_classifiers_and_detectors_are_averaged_apart() -> None:
    table = methods_table(PLAN, rows())

    assert cells(table, "mse")[2:5] == ["88.50 ± 0.71", "1.50 ± 0.00", "20.00 ± 0.00"]
    assert cells(table, "pd")[5] == "94.50 ± 0.71"
    assert cells(table, "pd")[-1] == "3"
    assert cells(table, "*models × seeds*")[2] == "2 × 2 seeds, 1 × 2 seeds"


def test_tables_have_as_many_cells_in_every_row() -> None:
    for table in (methods_table(PLAN, rows()), models_table(PLAN, rows())):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_best_fixed_p_is_that_of_each_model() -> None:
    found = rows()
    for seed in range(2):
        trial = PLAN.trial("b", "w8a4", "mse", seed)
        found[trial] = Measured(fidelity=100.0, drop=0.0, sqnr=30.0)

    assert cells(methods_table(PLAN, found), "best fixed p")[2] == f"{(92.5 + 100) / 2:.2f} ± 0.35"


def test_models_that_lack_a_method_do_not_count() -> None:
    table = methods_table(PLAN, rows("b"))

    assert cells(table, "mse")[2] == "90.50 ± 0.71"
    assert cells(table, "*models × seeds*")[2] == "1 × 2 seeds, 1 × 2 seeds"
    assert cells(models_table(PLAN, rows("b")), "b")[2:] == ["-", "-", "-"]


def test_a_refusal_is_no_number() -> None:
    found = rows()
    for seed in range(2):
        found[PLAN.trial("box", "w8a4", "pd", seed)] = Measured(error="it cannot be")

    assert cells(methods_table(PLAN, found), "mse")[5:8] == ["-", "-", "-"]
