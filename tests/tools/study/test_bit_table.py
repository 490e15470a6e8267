from __future__ import annotations

from tools.study.bit_table import RANDOM, bit_table
from tools.study.trials import Measured, Trial


def trial(seed: int, **options: int | str) -> Trial:
    return Trial.of("net", {"opset": 25, **options}, seed, 32)


def found(fidelity: float, size: float, error: str = "") -> Measured:
    return Measured(metric=fidelity - 20, fidelity=fidelity, size=size, error=error)


def rows() -> dict[Trial, Measured]:
    by_size = {"budget": "size=0.191x"}
    average = {"budget": "avg-weight-bits=5"}
    return {
        trial(0, weights=4): found(90.0, 0.191),
        trial(1, weights=4): found(92.0, 0.191),
        trial(0, sensitivity="quadratic", **by_size): found(93.0, 0.1905),
        trial(1, sensitivity="quadratic", **by_size): found(95.0, 0.1905),
        trial(0, sensitivity=RANDOM, **by_size): found(60.0, 0.19),
        trial(0, sensitivity="quadratic", **average): found(96.0, 0.22),
        trial(0, sensitivity=RANDOM, **average): found(0.0, 0.0, "cannot be met"),
    }


def test_choices_stand_beside_uniform_weights_of_their_size() -> None:
    lines = bit_table(rows()).splitlines()

    assert lines[0] == "| case | size of | file, × float | uniform | quadratic | random |"
    assert lines[2] == (
        "| net | uniform 4 | 0.191 | 91.0 ± 1.4, 71.0, n = 2 | 94.0 ± 1.4, 74.0, n = 2 "
        "| 60.0, 40.0, n = 1 |"
    )


def test_what_nobody_measured_is_a_dash_and_what_failed_is_told() -> None:
    last = bit_table(rows()).splitlines()[-1]

    assert last == "| net | average 5 | 0.220 | - | 96.0, 76.0, n = 1 | none of 1 can be met |"
