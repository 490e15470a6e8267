"""Numbers of samples, grouped by the folder that each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable


def grouped(labels: Iterable[Hashable]) -> list[list[int]]:
    """Groups the places of equal labels.

    Args:
        labels: The label of each sample, in order.

    Returns:
        One ascending list of places for every label, in the order of their first.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, label in enumerate(labels):
        groups.setdefault(label, []).append(place)
    return list(groups.values())
