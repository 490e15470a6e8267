"""A walk over options in order, from one of them to either side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["walk_either_side"]


def walk_either_side(
    count: int, start: int, measured: Callable[[int], float], *, until_worse: bool = True
) -> None:
    """Measures the option to start from, then those to either side.

    Args:
        count: Number of options.
        start: Position of the one to begin with.
        measured: Measures the option at a position, and returns its loss.
        until_worse: Whether a side ends where the loss is greater than one step before.
    """
    first = measured(start)
    for step in (1, -1):
        before, at = first, start + step
        while 0 <= at < count:
            loss = measured(at)
            if until_worse and loss > before:
                break
            before, at = loss, at + step
