"""Eight bits for the activations that few bits would hurt most.

What four bits of an activation cost differs by orders of magnitude from layer to layer, for each
product that they are meant to make cheaper. The costliest keep the target's own type. With Δ what
rounding to few bits changes and H the curvature of the task's loss, an activation costs ½ Δᵀ H Δ
(``onnxq.search.rounding_costs``), each alone in the float model; only the order counts here.
Dong et al. 2020, "HAWQ-V2", section 3.3, choose bits of activations by the curvature as well.

Measured at W4A4 with ``mse``, share 0 → 0.15 (agreement or F1 of boxes, and what the metric loses):
SqueezeNet 72.6 → 78.8 %, 4.8 → 5.4; MobileNetV1 0.25 72.0 → 79.4 %, 7.2 → 4.0; FastestDet 49.1 →
56.8 %, 6.5 → 4.2; UltraFace 60.0 → 79.4 %, 9.3 → 4.2. With ``lp:2.5``, 0.15 → 0.25: YOLOv5-Lite s
67.9 → 74.5 %, 6.7 → 5.9.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from onnxq.errors import ModelError
from onnxq.graph.query import macs
from onnxq.pass_options import number
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.activation_sites import activation_sites, narrowed
from onnxq.plan.note import Note, NoteKind
from onnxq.search.rounding_costs import rounding_costs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import onnx_ir as ir

    from onnxq.plan.activation_sites import ActivationSite
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.runtime.session import Feed
    from onnxq.tasks.loss import OutputLoss

__all__ = ["WidenActivations"]

_SAMPLES = 32


@dataclass(frozen=True)
class WidenActivations(PlanPass):
    """Keeps the target's own type for the narrow activations that need it most.

    1. Of the activations of fewer bits, those get the type that cost the loss most for each product
       of the layers that read them, the costliest first: each for which there is room in
       :attr:`share`. Values that share params are one.
    2. Without samples, or where an operator has no gradient, none does.

    Attributes:
        at_outputs: Makes the loss of the task for the float model.
        fitting: Gives activations the params to cost them with.
        share: Of all products of layers on integers; 0 leaves every activation as narrow as it is.
    """

    name = "widen-activations"
    options = MappingProxyType({"share": number("a share, 0 to 1", lambda share: 0 <= share <= 1)})
    after = frozenset({"narrow-activations"})

    at_outputs: Callable[[ir.Model], OutputLoss]
    fitting: PlanPass
    share: float = 0.2

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with wider types of activations, which have no params yet."""
        wide = context.target.activation
        every = activation_sites(context.model.graph, plan)
        sites = [one for one in every if plan.values[one.name].spec.dtype.bits < wide.bits]
        feeds = list(context.samples(_SAMPLES)) if sites and self.share else []
        if not feeds:
            return plan
        try:
            costs = self._costs(context, plan, sites, feeds)
        except ModelError as error:
            text = f"what bits cost is not known: {error}"
            return plan.with_notes([Note(NoteKind.REFUSED, self.name, "graph", text)])
        whole = sum(_products(site.layers, context) for site in every)
        return self._widened(context, plan, costs, whole)

    def _costs(
        self,
        context: PlanContext,
        plan: QuantPlan,
        sites: Sequence[ActivationSite],
        feeds: Sequence[Feed],
    ) -> list[tuple[ActivationSite, float]]:
        """Returns the sites that the loss depends on, and what each costs."""
        read = {site.name: _read(site) for site in sites}
        fitted = self.fitting.revise(context, plan)
        alone = replace(
            fitted, values={n: fitted.values[n] for names in read.values() for n in names}
        )
        loss = self.at_outputs(context.model)
        costs = rounding_costs(context.model, loss, feeds, alone, threads=context.threads)
        return [
            (site, sum(costs.get(name, 0.0) for name in read[site.name]))
            for site in sites
            if any(name in costs for name in read[site.name])
        ]

    def _widened(
        self,
        context: PlanContext,
        plan: QuantPlan,
        costs: Sequence[tuple[ActivationSite, float]],
        whole: int,
    ) -> QuantPlan:
        """Rule 1."""
        wide, left, notes = context.target.activation, self.share * whole, []
        products = {site.name: _products(site.layers, context) for site, _ in costs}
        for site, cost in sorted(costs, key=lambda one: -one[1] / max(products[one[0].name], 1)):
            taken = products[site.name]
            if not cost > 0 or taken > left:
                continue
            left -= taken
            bits = plan.values[site.name].spec.dtype.bits
            plan = narrowed(plan, site.members, wide)
            text = f"{bits} bits would cost {cost:.3g} at the outputs, for {taken / whole:.1%} of"
            text += f" all products: {wide}"
            notes.append(Note(NoteKind.FIRED, self.name, site.name, text))
        return plan.with_notes(notes)


def _read(site: ActivationSite) -> list[str]:
    """Returns the names of the members that layers multiply: others hold the same rounding."""
    read = {str(node.inputs[0].name) for node in site.layers}  # type: ignore[union-attr]
    return [name for name in site.members if name in read]


def _products(layers: Iterable[ir.Node], context: PlanContext) -> int:
    """Returns how many multiply-accumulates one sample takes; unknown sizes count nothing."""
    return sum(macs(node, context.shapes) or 0 for node in layers)
