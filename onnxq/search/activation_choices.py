"""How many bits activations may have, and what that costs at the outputs.

Fewer bits of what a layer multiplies save operations, nothing else, so that there is a choice where
a budget is of operations. What rounding to a width costs is a loss of the task, as measured or as
told by its curvature (``onnxq.search.rounding_costs``); what the target's own width costs is no
matter of choice and taken off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnxq.graph.query import macs
from onnxq.plan.activation_sites import activation_sites, narrowed
from onnxq.plan.allocation import Choice, Option
from onnxq.search.cost_method import AUTO, MEASURED, QUADRATIC, cost_method, run_seconds
from onnxq.search.rounding_costs import rounded_values, rounding_costs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from onnxq.passbase import PlanContext
    from onnxq.plan.activation_sites import ActivationSite
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.runtime.session import Feed
    from onnxq.tasks.loss import OutputLoss

__all__ = ["ActivationChoices"]

_NARROW = (4,)


@dataclass(frozen=True)
class ActivationChoices:
    """Finds out what activations cost.

    Attributes:
        context: With the float model.
        loss: Of the task.
        feeds: Samples, at least one.
        seed: Of what is drawn.
    """

    context: PlanContext
    loss: OutputLoss
    feeds: Sequence[Feed]
    seed: int

    def losses(self, plan: QuantPlan, method: str) -> dict[str, float]:
        """Returns value name → what it costs to round it as ``plan`` says.

        Args:
            plan: With params.
            method: How the costs of weights were found: measured ones ask for measured ones, as far
                as these are affordable.
        """
        model, shapes = self.context.model, self.context.shapes
        many = len(rounded_values(model, self.loss, plan))
        wanted = AUTO if method == MEASURED else QUADRATIC
        how = cost_method(wanted, many, len(self.feeds), run_seconds(model, shapes))
        return rounding_costs(
            model,
            self.loss,
            self.feeds[: how.samples],
            plan,
            measured=how.name == MEASURED,
            seed=self.seed,
            threads=self.context.threads,
        )

    def found(
        self,
        plan: QuantPlan,
        weights: Collection[str],
        fit: Callable[[PlanContext, QuantPlan], QuantPlan],
        method: str,
    ) -> list[tuple[Choice, ActivationSite]]:
        """Returns what there is to choose from, and for which values, in graph order.

        Args:
            plan: With params, all activations of the target's own width.
            weights: Names of the weights whose bits are chosen.
            fit: Gives a plan its params.
            method: How the costs of weights were found; of one that is no loss of the task nothing
                can be taken off or added to, and no activation has a choice.
        """
        own = self.context.target.activation.bits
        widths = [bits for bits in _NARROW if bits in self.context.target.activation_bits]
        sites = activation_sites(self.context.model.graph, plan)
        if method not in (MEASURED, QUADRATIC) or not widths or not sites:
            return []
        names = [name for site in sites for name in site.members]
        costs = {own: self._costs(plan, names, method)}
        for bits in widths:
            dtype = self.context.target.activation_type(bits)
            narrow = fit(self.context, narrowed(plan, names, dtype))
            costs[bits] = self._costs(narrow, names, method)
        found = []
        for site in sites:
            products = self._products(site, weights)
            known = [n for n in site.members if all(n in of for of in costs.values())]
            if not products or not known:
                continue
            options = [
                Option(bits, max(0.0, sum(costs[bits][n] - costs[own][n] for n in known)))
                for bits in (*widths, own)
            ]
            found.append((Choice(site.name, tuple(options), products=products), site))
        return found

    def _costs(self, plan: QuantPlan, names: Sequence[str], method: str) -> dict[str, float]:
        return self.losses(replace(plan, values={n: plan.values[n] for n in names}), method)

    def _products(self, site: ActivationSite, weights: Collection[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        for node in site.layers:
            name = str(node.inputs[1].name)  # type: ignore[union-attr]
            if name in weights:
                found[name] = found.get(name, 0.0) + float(macs(node, self.context.shapes) or 0)
        return found
