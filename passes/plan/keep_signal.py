"""Keeps float the few places where the signal drowns in quantization noise.

One scale for channels of very different size leaves the small ones with few codes. The signal of a
value, in dB, is the mean over its channels of

    10 · log10(E[x_c²] / (scale² / 12))        at least 0 per channel

Values of fewer bits than the target's own type are none of these: their noise was asked for.

1. Nothing happens where the worst output keeps :attr:`KeepSignal.enough` dB on the samples: a part
   left float costs speed.
2. Otherwise the :data:`_STEPS` values of least signal are tried in float, the least first. The
   fewest that bring :data:`_WORTH` of what all together bring are chosen, found by bisection.
3. Their producers and consumers are then planned anew as float nodes, so that the border is drawn
   at its cheapest place. If that gains less than one dB at the outputs, all stays as it was.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onnxq.pass_options import number, whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.spec import PerTensor
from onnxq.plan.touching import touching
from onnxq.runtime.compare import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["KeepSignal"]

_WEAK = 30.0
_STEPS = 8
_WORTH = 0.75
_LEAST_GAIN = 1.0


@dataclass(frozen=True)
class KeepSignal(PlanPass):
    """Finds values whose channels one scale does not serve, and keeps their surroundings float.

    Attributes:
        lower: Makes the quantized model of a plan.
        replan: Makes a whole plan in which the named nodes stay float, for the reasons given.
        enough: SQNR of the worst output, in dB, with which there is nothing to do.
        samples: How many calibration samples to measure on.
    """

    name = "keep-signal"
    options = MappingProxyType(
        {
            "enough": number("dB, 0 or more", lambda sqnr: sqnr >= 0),
            "samples": whole("a whole number, 1 or more", lambda count: count >= 1),
        }
    )
    after = frozenset({"fit-activations", "fit-weights"})

    lower: Callable[[ir.Model, QuantPlan], ir.Model]
    replan: Callable[[PlanContext, Mapping[str, str]], QuantPlan]
    enough: float = 20.0
    samples: int = 4

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan``, or the plan with the chosen places float if that is better."""
        feeds = context.samples(self.samples)
        reference = Reference(context.model, feeds, threads=context.threads)

        def measure(candidate: QuantPlan) -> float:
            sqnr = reference.sqnr(self.lower(context.model, candidate))
            return min(sqnr.values(), default=math.inf)

        before = measure(plan)
        if before >= self.enough:
            return plan
        weak = _weak_values(context, plan)
        chosen = _fewest(plan, weak, measure, before)
        if not chosen:
            return plan
        forced = _touching(context, plan, chosen)
        revised = self.replan(context, forced)
        after = measure(revised)
        if after < before + _LEAST_GAIN:
            text = f"{len(forced)} nodes in float would bring {after - before:.1f} dB"
            return plan.with_notes([Note(NoteKind.REFUSED, self.name, chosen[0], text)])
        text = f"{len(forced)} nodes in float: worst output {before:.1f} → {after:.1f} dB"
        return revised.with_notes([Note(NoteKind.FIRED, self.name, chosen[0], text)])


def _fewest(
    plan: QuantPlan, weak: list[str], measure: Callable[[QuantPlan], float], before: float
) -> list[str]:
    """Rule 2."""
    weak = weak[:_STEPS]

    def gain(number: int) -> float:
        return measure(plan.without(weak[:number])) - before

    wanted = _WORTH * gain(len(weak)) if weak else 0.0
    if wanted < _WORTH * _LEAST_GAIN:
        return []
    number = bisect_left(range(1, len(weak)), wanted, key=gain) + 1
    return weak[:number]


def _weak_values(context: PlanContext, plan: QuantPlan) -> list[str]:
    """Returns the names of the values of little signal, the least first."""
    stats = context.stats
    assert stats is not None, "the pipeline measures signals only where there is data"
    found = []
    for name, planned in plan.values.items():
        channels = stats[name].channels if name in stats else None
        params = planned.params
        if channels is None or params is None:
            continue
        narrow = planned.spec.dtype.bits < context.target.activation.bits
        if narrow or not isinstance(planned.spec.granularity, PerTensor):
            continue
        noise = float(params.scale) ** 2 / 12
        ratio = np.maximum(channels.second_moment / noise, 1.0)
        signal = float((10 * np.log10(ratio)).mean())
        if signal < _WEAK:
            found.append((signal, name))
    return [name for _, name in sorted(found)]


def _touching(context: PlanContext, plan: QuantPlan, names: list[str]) -> dict[str, str]:
    """Rule 3: the integer nodes that write or read one of ``names``, with their reason."""
    reason = "the signal would drown in quantization noise: channels of very different size"
    nodes = touching(names, context.model.graph, plan, context.target)
    return dict.fromkeys(nodes, reason)
