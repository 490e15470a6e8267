"""The least amount with which something holds, where trying is dear."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["least_amount_that"]

_STEPS = 7
_NEAR = 1.01


def least_amount_that(holds: Callable[[float], bool], least: float, most: float) -> float | None:
    """Returns the least amount that was found to do, within a hundredth; None if none does.

    More is taken to do where less does. Noise may contradict: what is returned was tried.

    Args:
        holds: Tries an amount.
        least: The first that is tried, more than 0.
        most: The second.
    """
    if holds(least):
        return least
    if most <= least or not holds(most):
        return None
    for _ in range(_STEPS):
        if most <= _NEAR * least:
            break
        middle = (least * most) ** 0.5
        if holds(middle):
            most = middle
        else:
            least = middle
    return most
