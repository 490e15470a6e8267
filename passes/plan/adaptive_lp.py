"""Ranges of least mean |x - x̂|^p, with the p of every value chosen by the loss at the outputs.

DetPTQ (Niu et al. 2023, "Improving Post-Training Quantization on Object Detection with Task
Loss-Guided Lp Metric"): no p suits all layers, and what suits one is seen at the outputs alone.
The search goes from coarse to fine (:mod:`onnxq.search.coarse`), and then is greedy in graph order
(:mod:`onnxq.search.greedy`), on half of the samples, with the other half to confirm every choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from onnxq.pass_options import number, switch, whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.search.output_search import OutputSearch
from onnxq.search.sites import Fit, activation_sites, refitted, weight_sites, without_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.search.greedy import Site
    from onnxq.search.simulation import Simulate
    from onnxq.tasks.loss import OutputLoss

__all__ = ["AdaptiveLp"]

EXPONENTS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""The p that are tried."""

_SQUARES = 2.0
_EIGHT = 8


@dataclass(frozen=True)
class AdaptiveLp(PlanPass):
    """Chooses the p of each activation's range, and of weights' scales, by the loss at the outputs.

    1. Activations first: those whose range the p moves, with one scale or one per channel, together
       with all that share their params: all at once, in groups, then one by one.
    2. Weights then, where :attr:`weights` says so. Weights of 8 bits start from the greatest
       magnitude, which stands behind the greatest p; narrower ones from p = 2.
    3. Left alone: values with channels taken out, and what reads them.

    4. Weights of few bits that ``round-weights`` will round have full width while it searches.

    Attributes:
        simulate: Makes the quantized model of a plan, with its params apart; None = nothing is
            searched.
        at_outputs: Makes the loss of the task for the float model.
        fitting: Makes the pass that fits all activations for a p.
        start: The p of the ranges that the plan has; one that is not tried counts as 2.
        fitting_weights: Makes the pass that fits all weights for a p; None = as by default.
        weights: Whether to choose for weights as well.
        rounded: Whether weights of few bits are rounded behind (rule 4).
        correct: Corrects biases for as long as it searches; None = they stay as they are.
        margin: Least share by which a choice has to lower the loss.
        samples: How many calibration samples to measure on; None = 8 to 64, as memory allows.
    """

    name = "adaptive-lp"
    on_request = True
    options = MappingProxyType(
        {
            "margin": number("a share, 0 or more and below 1", lambda share: 0 <= share < 1),
            "samples": whole("a whole number, 2 or more", lambda count: count >= 2),
            "weights": switch(),
        }
    )
    after = frozenset({"fit-activations", "fit-weights", "keep-signal"})

    simulate: Simulate | None
    at_outputs: Callable[[ir.Model], OutputLoss]
    fitting: Callable[[float], PlanPass]
    fitting_weights: Callable[[float | None], PlanPass]
    start: float = 2.0
    weights: bool = False
    rounded: bool = False
    correct: PlanPass | None = None
    margin: float = 0.01
    samples: int | None = None

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the ranges and scales of the chosen p."""
        if self.simulate is None:
            return plan

        def activations(plan: QuantPlan) -> list[Site]:
            fits = [Fit(_label(p), self._fitted(context, plan, p)) for p in EXPONENTS]
            return activation_sites(context.model, plan, fits, _index(self.start))

        def weights(plan: QuantPlan) -> list[Site]:
            bare = without_weights(plan, context.model)
            every = (*EXPONENTS, None)
            fits = [Fit(_label(p), self.fitting_weights(p).revise(context, bare)) for p in every]
            return weight_sites(context.model, plan, fits, _starts(plan))

        search = OutputSearch(
            self.name,
            self.simulate,
            self.at_outputs,
            self.correct,
            self.margin,
            self.samples,
            self.fitting_weights(None) if self.rounded else None,
        )
        return search.run(
            context, plan, search.feeds(context), activations, weights if self.weights else None
        )

    def _fitted(self, context: PlanContext, plan: QuantPlan, p: float) -> QuantPlan:
        return refitted(context, plan, self.fitting(p), self.fitting_weights(None))


def _index(p: float) -> int:
    return EXPONENTS.index(p if p in EXPONENTS else _SQUARES)


def _label(p: float | None) -> str:
    return "greatest magnitude" if p is None else f"p {p:g}"


def _starts(plan: QuantPlan) -> dict[int, int]:
    """Rule 2."""
    bits = {value.spec.dtype.bits for value in plan.values.values()}
    return {number: len(EXPONENTS) if number >= _EIGHT else _index(_SQUARES) for number in bits}
