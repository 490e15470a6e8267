"""The places of a plan where a search has a choice, from plans that were fitted in several ways."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.query import heavy
from onnxq.graph.roles import is_constant
from onnxq.search.greedy import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import onnx_ir as ir

    from onnxq.passbase import PlanContext, PlanPass
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

    Sweep = Callable[[QuantPlan], Sequence[Site]]

__all__ = [
    "Fit",
    "activation_sites",
    "refitted",
    "weight_sites",
    "widened",
    "with_ranges",
    "without_weights",
]


class Fit(NamedTuple):
    """A plan that is fitted in one of several ways.

    Attributes:
        label: What the way is called.
        plan: With the values of the plan that is searched.
    """

    label: str
    plan: QuantPlan


def without_weights(plan: QuantPlan, model: ir.Model) -> QuantPlan:
    """Returns ``plan`` with weights that have no params and codes yet, to be fitted anew."""
    return _bare(plan, [name for name in plan.values if name in model.graph.initializers])


def refitted(
    context: PlanContext, plan: QuantPlan, activations: PlanPass, weights: PlanPass
) -> QuantPlan:
    """Returns ``plan`` with activations fitted by one pass, and then weights by another to them."""
    bare = without_weights(activations.revise(context, plan), context.model)
    return weights.revise(context, bare)


def widened(context: PlanContext, plan: QuantPlan, weights: PlanPass) -> QuantPlan:
    """Returns ``plan`` with full width for the weights that layers on integers read.

    Weights of few bits that a later pass rounds by the outputs of their layers lose much less than
    the nearest codes would, so that these would mislead a search.

    Args:
        context: Of the plan.
        plan: With params.
        weights: Fits weights.
    """
    wide = context.target.weight
    narrow = {
        name: plan.values[name]
        for node in context.model.graph
        if heavy(node)
        for name in _weights_behind(node.inputs[0], plan, only=node)
        if plan.values[name].spec.dtype.bits < wide.bits
    }
    changed = {
        name: replace(value, spec=replace(value.spec, dtype=wide), params=None, codes=None)
        for name, value in narrow.items()
    }
    return weights.revise(context, plan.with_values(changed)) if changed else plan


def with_ranges(
    context: PlanContext, plan: QuantPlan, ranges: QuantPlan, weights: PlanPass
) -> QuantPlan:
    """Returns ``plan`` with the activations of ``ranges``, and weights fitted to them.

    Args:
        context: Of the plans.
        plan: Whose weights have the bits that they shall have.
        ranges: What :func:`widened` returned, searched.
        weights: Fits weights.
    """
    inner = context.model.graph.initializers
    found = plan.with_values({n: v for n, v in ranges.values.items() if n not in inner})
    wide = [n for n in inner if n in plan.values and ranges.values[n].spec != plan.values[n].spec]
    return plan.with_values(weights.revise(context, _bare(found, wide)).values)


def activation_sites(
    model: ir.Model, plan: QuantPlan, fits: Sequence[Fit], start: int
) -> list[Site]:
    """Returns the ranges that differ between the fits, in graph order.

    Values that share params are one site. The weights that read them come along: factors of
    channels are folded into them, and small ranges ask for larger scales because of a bias. Values
    with channels taken out are left alone.

    Args:
        model: The float model.
        plan: What is searched.
        fits: Plans, ordered by what is searched, whose weights are fitted to their activations.
        start: Position of the fit that ``plan`` stands for.
    """
    graph = model.graph
    values = {str(v.name): v for v in [*graph.inputs, *(out for n in graph for out in n.outputs)]}
    done: set[str] = set()
    sites: list[Site] = []
    for name in values:
        if name not in plan.values or name in done:
            continue
        group = plan.group_of(name)
        members = tuple(one for one in values if one in group and one in plan.values)
        done.update(members)
        if any(one in plan.clusters for one in members) or not _differ(name, fits):
            continue
        readers = [w for one in members for w in _weights_behind(values[one], plan)]
        moved = [name for name in readers if not _agree(plan, fits, name)]
        options = tuple(_option(fit.plan, (*members, *moved)) for fit in fits)
        sites.append(Site(members, options, tuple(fit.label for fit in fits), start))
    return sites


def weight_sites(
    model: ir.Model, plan: QuantPlan, fits: Sequence[Fit], starts: Mapping[int, int]
) -> list[Site]:
    """Returns the weights of layers on integers whose scales differ between the fits.

    Args:
        model: The float model.
        plan: What is searched.
        fits: Plans, ordered by what is searched.
        starts: Bits of a weight → position of the fit that ``plan`` stands for.
    """
    sites: list[Site] = []
    for node in model.graph:
        if not heavy(node) or str(node.inputs[0].name) in plan.clusters:  # type: ignore[union-attr]
            continue
        for name in _weights_behind(node.inputs[0], plan, only=node):
            if any(name in site.names for site in sites) or not _differ(name, fits):
                continue
            options = tuple(_option(fit.plan, (name,)) for fit in fits)
            start = starts[plan.values[name].spec.dtype.bits]
            sites.append(Site((name,), options, tuple(fit.label for fit in fits), start))
    return sites


def _bare(plan: QuantPlan, names: Iterable[str]) -> QuantPlan:
    """Returns ``plan`` with values that have no params and codes yet, to be fitted anew."""
    return plan.with_values(
        {name: replace(plan.values[name], params=None, codes=None) for name in names}
    )


def _weights_behind(
    value: ir.Value | None, plan: QuantPlan, only: ir.Node | None = None
) -> Iterator[str]:
    """Yields the names of the planned weights that layers on integers multiply ``value`` by."""
    for user, position in value.uses() if value is not None else ():
        if position or not heavy(user) or str(user.name) in plan.float_nodes:
            continue
        weight = user.inputs[1]
        planned = is_constant(weight) and weight is not None and weight.name in plan.values
        if planned and only in (None, user):
            yield str(weight.name)  # type: ignore[union-attr]


def _differ(name: str, fits: Sequence[Fit]) -> bool:
    """Says whether some fit gives other params than the others, and all give some."""
    found = [fit.plan.values[name].params for fit in fits]
    first = found[0]
    known = first is not None and all(params is not None for params in found)
    return known and any(not params.same_as(first) for params in found)  # type: ignore[union-attr, arg-type]


def _option(fit: QuantPlan, names: Sequence[str]) -> Mapping[str, ValuePlan]:
    return {name: fit.values[name] for name in names}


def _agree(plan: QuantPlan, fits: Sequence[Fit], name: str) -> bool:
    """Says whether a weight is the same in all fits and in the plan."""
    return all(_same(plan.values[name], fit.plan.values[name]) for fit in fits)


def _same(one: ValuePlan, other: ValuePlan) -> bool:
    if one.params is None or other.params is None or not one.params.same_as(other.params):
        return False
    return one.codes is other.codes or (
        one.codes is not None and other.codes is not None and np.array_equal(one.codes, other.codes)
    )
