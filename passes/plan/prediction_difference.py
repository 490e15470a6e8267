"""Ranges chosen directly by the prediction difference, that is by the loss at the outputs.

PD-Quant (Liu et al. 2023, "PD-Quant: Post-Training Quantization Based on Prediction Difference
Metric") holds that the error inside a layer tells little of what it does to the prediction. For
every activation, ranges from half to a quarter more of the least squared error's are tried, and the
one is taken whose quantized model predicts most like the float one. The search goes from all ranges
together to single ones (:mod:`onnxq.search.output_search`).

Of the paper's are: the prediction difference as the measure, activations' scales as what it
chooses, and the correction of the samples' distribution (:mod:`onnxq.search.distribution`).

Not of the paper's are: the search over a grid of factors in place of gradient descent on scales;
the task's own loss, so a detector's too, in place of Kullback-Leibler divergence of logits at a
temperature of 4; whole models in place of blocks with the float model behind; a held-out half in
place of a term that keeps a block's outputs. Weights' rounding and QDrop are no part of this pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from onnxq.errors import ModelError
from onnxq.pass_options import number, switch, whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind
from onnxq.search.distribution import correct_distribution
from onnxq.search.output_search import OutputSearch
from onnxq.search.sites import Fit, activation_sites, refitted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.runtime.session import Feed
    from onnxq.search.greedy import Site
    from onnxq.search.simulation import Simulate
    from onnxq.tasks.loss import OutputLoss

__all__ = ["PredictionDifference"]

FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25)
"""What the range of least squared error is multiplied by."""

_START = FACTORS.index(1.0)


@dataclass(frozen=True)
class PredictionDifference(PlanPass):
    """Chooses how wide each activation's range is by the loss at the outputs.

    1. Activations with one scale or one per channel, together with all that share their params, in
       graph order: all at once, in groups, then one by one. The weights that read them are fitted
       to them.
    2. The samples that choose are corrected first, where BatchNormalization told moments; those
       that confirm are as they were given.
    3. Weights of few bits that ``round-weights`` will round have full width while it searches.

    Attributes:
        simulate: Makes the quantized model of a plan, with its params apart; None = nothing is
            searched.
        at_outputs: Makes the loss of the task for the float model.
        fitting: Makes the pass that fits all activations, and widens what it finds by a factor.
        fitting_weights: Makes the pass that fits all weights.
        distribution: Whether to correct the samples' distribution.
        rounded: Whether weights of few bits are rounded behind (rule 3).
        correct: Corrects biases for as long as it searches; None = they stay as they are.
        margin: Least share by which a choice has to lower the loss.
        samples: How many calibration samples to measure on; None = 8 to 64, as memory allows.
    """

    name = "pd"
    on_request = True
    options = MappingProxyType(
        {
            "distribution": switch(),
            "margin": number("a share, 0 or more and below 1", lambda share: 0 <= share < 1),
            "samples": whole("a whole number, 2 or more", lambda count: count >= 2),
        }
    )
    after = frozenset({"fit-activations", "fit-weights", "keep-signal"})

    simulate: Simulate | None
    at_outputs: Callable[[ir.Model], OutputLoss]
    fitting: Callable[[float], PlanPass]
    fitting_weights: Callable[[], PlanPass]
    distribution: bool = True
    rounded: bool = False
    correct: PlanPass | None = None
    margin: float = 0.01
    samples: int | None = None

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the chosen ranges."""
        if self.simulate is None:
            return plan

        def activations(plan: QuantPlan) -> list[Site]:
            fits = [Fit(f"× {f:g}", self._fitted(context, plan, f)) for f in FACTORS]
            return activation_sites(context.model, plan, fits, _START)

        search = OutputSearch(
            self.name,
            self.simulate,
            self.at_outputs,
            self.correct,
            self.margin,
            self.samples,
            self.fitting_weights() if self.rounded else None,
        )
        feeds = search.feeds(context)
        if self.distribution and context.prior and len(feeds) > 1:
            feeds, note = self._corrected(context, feeds)
            plan = plan.with_notes([note])
        return search.run(context, plan, feeds, activations)

    def _fitted(self, context: PlanContext, plan: QuantPlan, factor: float) -> QuantPlan:
        return refitted(context, plan, self.fitting(factor), self.fitting_weights())

    def _corrected(self, context: PlanContext, feeds: Sequence[Feed]) -> tuple[list[Feed], Note]:
        """Rule 2: every other sample judges."""
        found, kind, why = None, NoteKind.REFUSED, "samples of several shapes, or no moments"
        try:
            found = correct_distribution(
                context.model, context.prior, feeds[::2], threads=context.threads
            )
        except ModelError as error:
            why = str(error)
        mixed = list(feeds)
        text = f"the samples' distribution is left as it is: {why}"
        if found is not None:
            mixed[::2] = found.feeds
            kind = NoteKind.INFO
            text = (
                f"distribution of {len(found.feeds)} samples: distance to the moments of"
                f" {found.values} values {found.before:.3g} → {found.after:.3g}"
            )
        return mixed, Note(kind, self.name, "graph", text)
