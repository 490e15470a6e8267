"""Ranges of least mean |x - x̂|^p, with the p of every value chosen by the loss at the outputs.

DetPTQ (Niu et al. 2023, "Improving Post-Training Quantization on Object Detection with Task
Loss-Guided Lp Metric"): no p suits all layers, and what suits one is seen at the outputs alone.

1. Values are taken in graph order, those that share params together. All others keep their ranges:
   what was chosen before, and the start's behind. Choices made one by one without that are worse
   together than the start.
2. From the start's p on, greater and smaller ones are tried until the loss on one half of the
   samples worsens.
3. The best is taken where it lowers that loss by :attr:`AdaptiveLp.margin` or more, and lowers it
   on the other half too.

Left alone: values with a scale per channel, with channels taken out, or whose range no p moves.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import ModelError
from onnxq.pass_options import number, whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind
from onnxq.search.evaluator import Evaluator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.search.simulation import Simulate
    from onnxq.tasks.loss import OutputLoss

__all__ = ["AdaptiveLp"]

EXPONENTS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""The p that are tried."""

_START = EXPONENTS.index(2.0)
_BUDGET_BYTES = 1 << 27
_FEWEST, _MOST = 8, 64


@dataclass(frozen=True)
class AdaptiveLp(PlanPass):
    """Chooses the p of each activation's range by the loss at the outputs; see the module's rules.

    Attributes:
        simulate: Makes the quantized model of a plan, with its params apart; None = nothing is
            searched.
        at_outputs: Makes the loss of the task for the float model.
        fitting: Makes the pass that fits all ranges for a p.
        margin: Least share by which a choice has to lower the loss.
        samples: How many calibration samples to measure on; None = as many as
            :data:`_BUDGET_BYTES` hold of inputs and outputs, 8 to 64.
    """

    name = "adaptive-lp"
    on_request = True
    options = MappingProxyType(
        {
            "margin": number("a share, 0 or more and below 1", lambda share: 0 <= share < 1),
            "samples": whole("a whole number, 2 or more", lambda count: count >= 2),
        }
    )
    after = frozenset({"fit-activations", "fit-weights", "keep-signal"})

    simulate: Simulate | None
    at_outputs: Callable[[ir.Model], OutputLoss]
    fitting: Callable[[float], PlanPass]
    margin: float = 0.01
    samples: int | None = None

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the ranges of the chosen p."""
        if self.simulate is None:
            return plan
        feeds = list(context.samples(self.samples or _affordable(context)))
        if len(feeds) < 2:
            return plan.with_notes([self._refusal("two samples are needed, one to choose by")])
        fits = [self.fitting(p).revise(context, plan) for p in EXPONENTS]
        loss = self.at_outputs(context.model)
        try:
            with ThreadPoolExecutor(context.threads) as executor:
                evaluator = Evaluator(context.model, self.simulate, feeds, loss, executor=executor)
                return self._searched(evaluator, context.model, plan, fits)
        except ModelError as error:
            return plan.with_notes([self._refusal(f"the model cannot be run in parts: {error}")])

    def _searched(
        self, evaluator: Evaluator, model: ir.Model, plan: QuantPlan, fits: Sequence[QuantPlan]
    ) -> QuantPlan:
        notes: list[Note] = []
        for members in _sites(model, plan, fits):
            candidates = [_with_params(plan, fit, members) for fit in fits]
            candidates[_START] = plan
            chosen, note = self._try_choose(evaluator, candidates, members)
            plan, notes = candidates[chosen], [*notes, *note]
        return plan.with_notes(notes)

    def _try_choose(
        self, evaluator: Evaluator, candidates: Sequence[QuantPlan], members: Sequence[str]
    ) -> tuple[int, list[Note]]:
        """Rules 2 and 3: returns the position of the candidate to take, and what to say."""
        count = len(evaluator.feeds)
        judges, others = range(0, count, 2), range(1, count, 2)
        losses = evaluator.descend(candidates, _START, judges)
        on = [
            {at: float(loss[list(half)].mean()) for at, loss in losses.items()}
            for half in (judges, others)
        ]
        best = min(on[0], key=lambda at: (on[0][at], abs(at - _START)))
        before, after = on[0][_START], on[0][best]
        if after > (1 - self.margin) * before or on[1][best] >= on[1][_START]:
            return _START, []
        params = candidates[best].values[members[0]].params
        text = (
            f"p {EXPONENTS[_START]:g} → {EXPONENTS[best]:g}, scale {_scale(params)}: loss at the"
            f" outputs {before:.4g} → {after:.4g}, on the other half {on[1][_START]:.4g} →"
            f" {on[1][best]:.4g}"
        )
        return best, [Note(NoteKind.FIRED, self.name, members[0], text)]

    def _refusal(self, reason: str) -> Note:
        return Note(NoteKind.REFUSED, self.name, "graph", reason)


def _scale(params: object) -> str:
    return f"{float(params.scale):.4g}"  # type: ignore[attr-defined]


def _affordable(context: PlanContext) -> int:
    """Returns how many samples' inputs and outputs the budget holds."""
    ends = [*context.model.graph.inputs, *context.model.graph.outputs]
    size = sum(4 * math.prod(context.shapes.get(str(value.name), ())) for value in ends)
    return int(np.clip(_BUDGET_BYTES // max(size, 1), _FEWEST, _MOST))


def _sites(model: ir.Model, plan: QuantPlan, fits: Sequence[QuantPlan]) -> Iterator[list[str]]:
    """Rule 1: yields names of values that share params, in graph order."""
    order = [str(value.name) for value in model.graph.inputs]
    order += [str(value.name) for node in model.graph for value in node.outputs]
    done: set[str] = set()
    for name in order:
        if name not in plan.values or name in done:
            continue
        members = [one for one in order if one in plan.group_of(name) and one in plan.values]
        done.update(members)
        values = [plan.values[one] for one in members]
        single = all(value.spec.axis is None and value.params is not None for value in values)
        if single and not any(one in plan.clusters for one in members) and _moves(name, fits):
            yield members


def _moves(name: str, fits: Sequence[QuantPlan]) -> bool:
    """Says whether some p gives another range than the others."""
    found = [fit.values[name].params for fit in fits]
    first = found[0]
    return first is not None and any(p is not None and not p.same_as(first) for p in found)


def _with_params(plan: QuantPlan, fit: QuantPlan, members: Sequence[str]) -> QuantPlan:
    return plan.with_values(
        {one: replace(plan.values[one], params=fit.values[one].params) for one in members}
    )
