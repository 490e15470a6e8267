"""Which options a walk measures."""

from __future__ import annotations

import pytest

from onnxq.search.either_side import walk_either_side


def walked(losses: list[float], start: int, *, until_worse: bool = True) -> list[int]:
    seen: list[int] = []

    def measured(at: int) -> float:
        seen.append(at)
        return losses[at]

    walk_either_side(len(losses), start, measured, until_worse=until_worse)
    return seen


@pytest.mark.parametrize(
    ("losses", "start", "seen"),
    [
        ([1.0], 0, [0]),
        ([3.0, 2.0, 2.0, 1.0, 5.0, 0.0], 1, [1, 2, 3, 4, 0]),
        ([0.0, 3.0, 2.0], 2, [2, 1]),
        ([5.0, 4.0, 3.0], 2, [2, 1]),
        ([1.0, 2.0, 3.0], 2, [2, 1, 0]),
    ],
    ids=["one", "both sides", "behind a worse one", "worse", "down"],
)
def test_a_side_ends_behind_what_is_worse(losses: list[float], start: int, seen: list[int]) -> None:
    assert walked(losses, start) == seen


def test_all_are_measured_where_it_says_so() -> None:
    assert walked([0.0, 9.0, 1.0, 9.0, 0.0], 2, until_worse=False) == [2, 3, 4, 1, 0]
