"""Sets of values that share one scale and zero point."""

from __future__ import annotations

__all__ = ["merge_groups"]


def merge_groups(groups: list[frozenset[str]]) -> list[frozenset[str]]:
    """Returns the groups with those that share a member united, in order of first appearance."""
    merged: list[set[str]] = []
    for group in groups:
        touching = [g for g in merged if g & group]
        union = set(group).union(*touching)
        merged = [g for g in merged if not g & group]
        merged.append(union)
    return [frozenset(group) for group in merged]
