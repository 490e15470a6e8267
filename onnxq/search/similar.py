"""Candidates that differ by next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = ["alike", "first_alike", "same_but_for_values", "same_shifts"]

_CLOSE = 0.02


def first_alike(candidates: Sequence[QuantPlan], close: float = _CLOSE) -> list[int]:
    """Returns for each candidate the position of the first one that it is like.

    Args:
        candidates: Plans for one search.
        close: As for :func:`alike`.
    """
    firsts: list[int] = []
    for at, plan in enumerate(candidates):
        same = (first for first in dict.fromkeys(firsts) if alike(candidates[first], plan, close))
        firsts.append(next(same, at))
    return firsts


def alike(first: QuantPlan, second: QuantPlan, close: float = _CLOSE) -> bool:
    """Says whether two plans differ in ranges alone, and those by next to nothing.

    Args:
        first: A plan.
        second: Another.
        close: Largest distance of the ends of two ranges, in shares of the wider one.
    """
    if not same_but_for_values(first, second) or not same_shifts(first, second):
        return False
    return all(
        one is second.values[name] or _close(one, second.values[name], close)
        for name, one in first.values.items()
    )


def _close(one: ValuePlan, other: ValuePlan, close: float) -> bool:
    if one.spec != other.spec or one.codes is not other.codes:
        return False
    if one.params is other.params:
        return True
    if one.params is None or other.params is None or one.codes is not None:
        return False
    codes = np.array([[one.spec.dtype.qmin], [one.spec.dtype.qmax]], np.float64)
    ends = [
        (codes - params.zero_point.reshape(-1)) * params.scale.reshape(-1)
        for params in (one.params, other.params)
    ]
    if ends[0].shape != ends[1].shape:
        return False
    width = np.maximum(*(np.ptp(end, axis=0) for end in ends))
    return bool((np.abs(ends[0] - ends[1]) <= close * width).all())


def same_but_for_values(first: QuantPlan, second: QuantPlan) -> bool:
    """Says whether two plans differ in their values alone, and have the same ones; shifts aside."""
    return (
        first.values.keys() == second.values.keys()
        and _same(first.uses, second.uses)
        and _same(first.clusters, second.clusters)
        and first.groups == second.groups
        and first.float_nodes == second.float_nodes
        and first.kept_float == second.kept_float
    )


def same_shifts(first: QuantPlan, second: QuantPlan) -> bool:
    """Says whether two plans have the very same bias shifts."""
    return _same(first.bias_shift, second.bias_shift)


def _same(first: Mapping[Any, object], second: Mapping[Any, object]) -> bool:
    """Says whether two mappings hold the same objects: equal arrays may be long to compare."""
    return first is second or (
        first.keys() == second.keys() and all(first[key] is second[key] for key in first)
    )
