"""Reductions: the cotangent goes back to all that was reduced, weighted by the derivative."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir

    from onnxq.autodiff.site import Grads, Rule, Site

    Spread = Callable[[Site, ir.Value, ir.Value], ir.Value]

__all__ = ["RULES"]


def _axes(site: Site) -> list[int]:
    """Returns the axes that are reduced, counted from the front."""
    rank = len(site.shape(site.x()))
    given = site.weight(1, "axes")
    if given is not None and given.size:
        return sorted(int(axis) % rank for axis in given.reshape(-1))
    empty = site.node.attributes.get_int("noop_with_empty_axes", 0)
    return [] if empty else list(range(rank))


def _kept(site: Site) -> tuple[int, ...]:
    """Returns the shape of the result with its reduced axes kept."""
    axes = _axes(site)
    return tuple(1 if i in axes else n for i, n in enumerate(site.shape(site.x())))


def _spread_by(weigh: Spread) -> Rule:
    """Makes a rule from dx = weigh(site, dy, y), both of the result's shape with axes kept."""

    def rule(site: Site, dy: ir.Value) -> Grads:
        kept = _kept(site)
        same = site.shape(site.y) == kept
        wide_dy = dy if same else site.reshape(dy, kept)
        wide_y = site.y if same else site.reshape(site.y, kept)
        return {0: weigh(site, wide_dy, wide_y)}

    return rule


def _sum(site: Site, dy: ir.Value, y: ir.Value) -> ir.Value:
    del y
    return site.expand(dy, site.shape(site.x()))


def _mean(site: Site, dy: ir.Value, y: ir.Value) -> ir.Value:
    del y
    shape = site.shape(site.x())
    count = math.prod(shape[axis] for axis in _axes(site))
    return site.expand(site.mul(dy, 1 / count), shape)


def _extreme(site: Site, dy: ir.Value, y: ir.Value) -> ir.Value:
    """Max and min: evenly to all that are the extreme."""
    mask = site.mask("Equal", site.x(), y)
    return site.mul(mask, site.div(dy, site.sum(mask, _axes(site), keep=True)))


def _sum_square(site: Site, dy: ir.Value, y: ir.Value) -> ir.Value:
    del y
    return site.mul(site.x(), site.mul(dy, 2.0))


def _l1(site: Site, dy: ir.Value, y: ir.Value) -> ir.Value:
    del y
    return site.mul(site.op("Sign", site.x()), dy)


def _l2(site: Site, dy: ir.Value, y: ir.Value) -> ir.Value:
    return site.mul(site.x(), site.div(dy, y))


def _log_sum(site: Site, dy: ir.Value, y: ir.Value) -> ir.Value:
    return site.expand(site.div(dy, site.op("Exp", y)), site.shape(site.x()))


def _log_sum_exp(site: Site, dy: ir.Value, y: ir.Value) -> ir.Value:
    return site.mul(dy, site.op("Exp", site.sub(site.x(), y)))


def _cumulative(site: Site, dy: ir.Value) -> Grads:
    """The sum of what comes before becomes the sum of what comes after."""
    reverse = site.node.attributes.get_int("reverse", 0)
    exclusive = site.node.attributes.get_int("exclusive", 0)
    back = site.op("CumSum", dy, site.x(1), exclusive=exclusive, reverse=1 - reverse)
    return {0: back}


RULES: Mapping[str, Rule] = {
    "CumSum": _cumulative,
    "ReduceL1": _spread_by(_l1),
    "ReduceL2": _spread_by(_l2),
    "ReduceLogSum": _spread_by(_log_sum),
    "ReduceLogSumExp": _spread_by(_log_sum_exp),
    "ReduceMax": _spread_by(_extreme),
    "ReduceMean": _spread_by(_mean),
    "ReduceMin": _spread_by(_extreme),
    "ReduceSum": _spread_by(_sum),
    "ReduceSumSquare": _spread_by(_sum_square),
}
