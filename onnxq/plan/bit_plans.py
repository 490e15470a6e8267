"""A plan with other bits for its weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnxq.plan.allocation import FLOAT_BITS
from onnxq.plan.quant_plan import QuantPlan, Use
from onnxq.plan.spec import IntType
from onnxq.plan.stored_weight import stored_weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnxq.plan.weight_sites import WeightSite

__all__ = ["with_bits"]

_WEIGHT_POSITION = 1


def with_bits(
    plan: QuantPlan,
    sites: Iterable[WeightSite],
    bits: Mapping[str, int],
    *,
    per_channel: bool = True,
) -> QuantPlan:
    """Returns ``plan`` with these bits; weights of layers on integers have no params yet.

    Args:
        plan: Of whatever bits.
        sites: Its weights.
        bits: Name of a site → bits; 32 for a weight of layers in float that stays float.
        per_channel: One scale per output channel of a weight of layers in float.
    """
    values, uses = dict(plan.values), dict(plan.uses)
    for site in sites:
        width = bits[site.name]
        if site.integer and width < FLOAT_BITS:
            wish = values[site.name]
            dtype = IntType(width, wish.spec.dtype.signed)
            spec = replace(wish.spec, dtype=dtype)
            values[site.name] = replace(wish, spec=spec, params=None, codes=None, levels=None)
        stored = None
        for node in site.real:
            use = Use(str(node.name), _WEIGHT_POSITION)
            uses.pop(use, None)
            if width < FLOAT_BITS:
                stored = stored or stored_weight(
                    node, IntType(width, True), per_channel=per_channel
                )
                uses[use] = stored
    return replace(plan, values=values, uses=uses)
