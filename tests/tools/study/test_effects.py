"""What single passes change comes out as a table that says where, how much and how surely."""

from __future__ import annotations

import math

from tools.study.effects import Effect, effects_table
from tools.study.trials import Measured


def _effect(case: str, seed: int, gain: float, *, fires: bool = True) -> Effect:
    off = Measured(fidelity=90.0, drop=1.0, sqnr=20.0, integer=0.5, size=0.3)
    on = Measured(fidelity=90.0 + gain, drop=1.0 - gain, sqnr=20.0 + gain, integer=0.5, size=0.3)
    return Effect(case, "w8a8", seed, "tidy", fires, off, on)


def _cells(effects: list[Effect]) -> list[str]:
    table = effects_table(effects, len(effects))
    return [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]]


def test_a_case_counts_with_the_mean_over_its_seeds() -> None:
    gains = {"a": (1.0, 3.0), "b": (-4.0, -4.0)}
    effects = [_effect(case, seed, gain) for case in gains for seed, gain in enumerate(gains[case])]

    cells = _cells(effects)

    assert cells[:3] == ["tidy", "w8a8", "2 of 2"]
    assert cells[3] == f"-1.00 ± {math.sqrt(2) / 2:.2f}"
    assert cells[4] == "-4.00 b"
    assert cells[5:] == ["+1.00", "-1.00", "+0.000", "+0.000"]


def test_a_case_in_which_nothing_fires_is_counted_but_not_averaged() -> None:
    cells = _cells([_effect("a", 0, 2.0), _effect("b", 0, 0.0, fires=False)])

    assert cells[2] == "1 of 2"
    assert cells[3].startswith("+2.00")


def test_a_seed_in_which_nothing_fires_is_averaged() -> None:
    cells = _cells([_effect("a", 0, 2.0), _effect("a", 1, 0.0, fires=False)])

    assert cells[2] == "1 of 1"
    assert cells[3].startswith("+1.00")


def test_a_pass_that_fires_nowhere_has_no_row() -> None:
    assert len(effects_table([_effect("a", 0, 0.0, fires=False)], 1).splitlines()) == 2


def test_a_row_that_lacks_a_run_is_left_out() -> None:
    effects = [_effect("a", 0, 1.0), _effect("a", 1, 1.0)]

    assert len(effects_table(effects, 2).splitlines()) == 3
    assert len(effects_table(effects, 3).splitlines()) == 2


def test_what_cannot_be_told_is_a_dash() -> None:
    effect = _effect("a", 0, 1.0)._replace(off=Measured(error="refused"))

    assert _cells([effect])[3] == "- ± -"
