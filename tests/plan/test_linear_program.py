from __future__ import annotations

import pytest

from onnxq.plan.linear_program import LinearProgram


def knapsack() -> tuple[LinearProgram, list[int]]:
    program = LinearProgram()
    items = [program.variable(-worth, whole=True) for worth in (3.0, 4.0, 5.0)]
    program.require(dict(zip(items, (2.0, 3.0, 4.0), strict=True)), most=5)
    return program, items


def test_whole_numbers() -> None:
    program, _ = knapsack()

    found = program.solve()

    assert found is not None
    assert found.tolist() == pytest.approx([1, 1, 0])
    assert program.value(found) == pytest.approx(-7)


def test_another_goal() -> None:
    program, items = knapsack()

    found = program.solve({items[2]: -1.0})

    assert found is not None
    assert found[2] == pytest.approx(1)


def test_what_cannot_be_met() -> None:
    program, items = knapsack()
    program.require(dict.fromkeys(items, 1.0), least=3)

    assert program.solve() is None
