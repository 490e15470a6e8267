"""Rounds weights by what comes out of blocks of layers, with gradients.

Where :mod:`onnxq.passes.plan.round_weights` ends, layer by layer, this begins: block after block,
codes and scales are moved towards the float block's output by gradient descent, through the
quantizers (:mod:`onnxq.autodiff`).

Sources: Li et al. 2021, "BRECQ: Pushing the Limit of Post-Training Quantization by Block
Reconstruction", for blocks; Wei et al. 2022, "QDrop", for what they read; Esser et al. 2020,
"Learned Step Size Quantization", for activations; Nagel et al. 2020, "Up or Down?", and Lee et al.
2023, "FlexRound", for how codes move. What differs from them: it begins with codes that are good
already, so a few hundred steps do; and what does not help samples that were held out is undone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import ModelError
from onnxq.numerics.paired import surely_less
from onnxq.pass_options import choice, whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind
from onnxq.runtime.expose import expose
from onnxq.runtime.segments import uncut
from onnxq.search.block_reconstruction import Reconstruction
from onnxq.search.coded_layer import CodedLayer, coded_layer
from onnxq.search.evaluator import Evaluator
from onnxq.search.layer_moments import samples_side_by_side
from onnxq.search.learned_layer import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.runtime.session import Feed
    from onnxq.search.block_reconstruction import RoundLayers
    from onnxq.search.simulation import Simulate
    from onnxq.tasks.loss import OutputLoss

__all__ = ["ReconstructBlocks"]

_STEPS = 200
_FEW_BITS = 8
_FEWEST_JUDGES = 4
_FEWEST_SAMPLES = 4 * _FEWEST_JUDGES


@dataclass(frozen=True)
class ReconstructBlocks(PlanPass):
    """Moves codes and scales towards the float outputs of blocks of layers.

    1. Where weights of few bits were rounded by what comes out of their layers, all layers on
       integers with codes are moved, in blocks between places where a single value crosses, or few
       where no single one does. Codes from a codebook stay: they have no even steps to move by.
    2. A block reads what the quantized model in front of it delivers, mixed with what the float
       model has there; its outputs are to be the float model's.
    3. Every fourth sample is held out. A block keeps its codes and scales unless its error on these
       falls by a hundredth; so does the whole model unless the loss at the outputs falls by more
       than chance explains, two standard errors of the differences.

    Attributes:
        simulate: Makes the quantized model of a plan, with its params apart; None = nothing is
            moved.
        at_outputs: Makes the loss of the task for the float model.
        rounding: Finds the codes that a block starts from, once blocks in front of it have moved.
        method: How codes move: "adaround" (to a neighbour) or "flexround".
        steps: Of gradient descent, for each block.
        samples: How many calibration samples to run; None = as many as memory should hold of both
            models' values between blocks.
    """

    name = "reconstruct-blocks"
    on_request = True
    options = MappingProxyType(
        {
            "method": choice(*METHODS),
            "steps": whole("a whole number, 1 or more", lambda count: count >= 1),
            "samples": whole("a whole number, 16 or more", lambda count: count >= _FEWEST_SAMPLES),
        }
    )
    after = frozenset({"round-weights"})

    simulate: Simulate | None
    at_outputs: Callable[[ir.Model], OutputLoss]
    rounding: RoundLayers
    method: str = "adaround"
    steps: int = _STEPS
    samples: int | None = None

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with what was moved."""
        if self.simulate is None:
            return plan
        loss = self.at_outputs(context.model)
        model = expose(context.model, loss.values)
        layers = _layers(model, plan)
        if not layers:
            return plan
        if (reason := uncut(model)) is not None:
            return plan.with_notes([self._refused(reason)])
        count = self.samples or samples_side_by_side(model, layers, context.shapes)
        feeds = list(context.samples(count))
        if len(feeds) < _FEWEST_SAMPLES:
            return plan.with_notes([self._refused(f"{len(feeds)} samples are too few")])
        try:
            return self._judged(context, plan, model, loss, layers, feeds)
        except ModelError as error:
            return plan.with_notes([self._refused(f"the model cannot be run in parts: {error}")])

    def _judged(  # noqa: PLR0913 (what was found out so far)
        self,
        context: PlanContext,
        plan: QuantPlan,
        model: ir.Model,
        loss: OutputLoss,
        layers: Mapping[str, CodedLayer],
        feeds: Sequence[Feed],
    ) -> QuantPlan:
        """Rule 3."""
        assert self.simulate is not None
        judges = range(len(feeds))[3::4]
        fit = [number for number in range(len(feeds)) if number not in judges]
        reconstruction = Reconstruction(
            self.name, context, model, layers, self.method, self.steps, fit, judges, self.rounding
        )
        found = reconstruction.run(plan, self.simulate(model, plan), feeds)
        judged = [feeds[number] for number in judges]
        evaluator = Evaluator(model, self.simulate, judged, loss, threads=context.threads)
        before, after = evaluator.each([plan, found])
        losses = f"{before.mean():.4g} → {after.mean():.4g}"
        text = f"loss at the outputs {losses} on {len(judges)} held-out samples"
        if not _surely_less(after, before):
            refused = self._refused(f"{text}: not surely less, so all stays")
            return replace(plan, notes=(*found.notes, refused))
        return found.with_notes([Note(NoteKind.FIRED, self.name, "graph", text)])

    def _refused(self, reason: str) -> Note:
        return Note(NoteKind.REFUSED, self.name, "graph", reason)


def _surely_less(after: npt.NDArray[np.float64], before: npt.NDArray[np.float64]) -> bool:
    """Says whether losses of the same samples fell by more than two standard errors."""
    if not (np.isfinite(after).all() and np.isfinite(before).all()):
        return False
    return surely_less(after, before, errors=2)


def _layers(model: ir.Model, plan: QuantPlan) -> dict[str, CodedLayer]:
    """Rule 1: returns name → layer; none if none has few bits."""
    found = {str(node.name): coded_layer(node, plan) for node in model.graph}
    layers = {
        name: layer
        for name, layer in found.items()
        if isinstance(layer, CodedLayer)
        and not layer.real
        and layer.plan.codes is not None
        and layer.plan.levels is None
    }
    few = any(layer.plan.spec.dtype.bits < _FEW_BITS for layer in layers.values())
    return layers if few else {}
