"""Finds out what each width of each layer's weight costs and takes: the front to choose from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from onnxq.graph.io import written_size
from onnxq.graph.packed import stored_bits
from onnxq.graph.roles import reaches
from onnxq.plan.activation_sites import narrowed
from onnxq.plan.allocation import OPERATIONS
from onnxq.plan.bit_plans import with_bits
from onnxq.plan.placement import timing_of
from onnxq.plan.weight_sites import weight_sites
from onnxq.runtime.session import make_session
from onnxq.search.activation_choices import ActivationChoices
from onnxq.search.bit_front import BitFront
from onnxq.search.layer_moments import samples_to_round_by
from onnxq.search.room import with_room
from onnxq.search.width_costs import width_costs
from onnxq.search.width_resources import WidthResources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.config import Config
    from onnxq.passbase import PlanContext
    from onnxq.plan.activation_sites import ActivationSite
    from onnxq.plan.allocation import Allocation, Choice
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.timing import Timing
    from onnxq.plan.weight_sites import WeightSite
    from onnxq.tasks.loss import OutputLoss

__all__ = ["BitSearch"]

_WIDTHS = (2, 3, 4, 8)
_NEWEST_OPSET = 25
_TIME_LEFT = "costs less at the outputs in float, and the budget of latency leaves time for it"


@dataclass(frozen=True)
class BitSearch:
    """How the front of a plan is found.

    Attributes:
        at_outputs: Makes the loss of the task for the float model.
        fit: Gives a plan with other bits its params.
        lower: Makes the quantized model of a plan.
        replan: Makes a whole plan in which the named nodes stay float, for the reasons given.
        float_bytes: Of the float model's file.
        config: How weights will be rounded, and which stay float.
    """

    at_outputs: Callable[[ir.Model], OutputLoss]
    fit: Callable[[PlanContext, QuantPlan], QuantPlan]
    lower: Callable[[ir.Model, QuantPlan], ir.Model]
    replan: Callable[[PlanContext, Mapping[str, str]], QuantPlan]
    float_bytes: int
    config: Config

    def front(self, context: PlanContext, plan: QuantPlan, method: str) -> BitFront:
        """Returns the front; runs the float model, its gradient, or many changed ones.

        Args:
            context: With samples and statistics.
            plan: With params for all that it quantizes.
            method: How to tell what a width costs, one of ``onnxq.search.bit_costs``, or "auto".
        """
        return _Finder(self, context, plan).front(method)


class _Finder:
    """What belongs to one plan."""

    def __init__(self, search: BitSearch, context: PlanContext, plan: QuantPlan) -> None:
        self._search = search
        self._context = context
        self._model = context.model
        self._plan = plan
        self._feeds = list(context.samples(samples_to_round_by(context.shapes.values())))
        loss = search.at_outputs(context.model)
        self._loss = loss.softened(self._float_outputs(loss))
        self._sites = self._sites_of(plan)
        self._opset = context.model.graph.opset_imports[""]
        self._values: dict[str, ActivationSite] = {}
        self._activations = ActivationChoices(context, self._loss, self._feeds, search.config.seed)

    def front(self, method: str) -> BitFront:
        """See :meth:`BitSearch.front`."""
        widths = self._widths()
        plans = {bits: self._uniform(bits) for bits in widths}
        layers = {site.name: site.nodes[0] for site in self._sites}
        found = width_costs(
            self._context, self._loss, layers, plans, self._feeds, method, self._search.config
        )
        activations = self._choices_of_activations(found.method)
        self._values = {choice.name: site for choice, site in activations}
        multiplied = {str(n.name) for site in self._values.values() for n in site.layers}
        beyond = self._beyond_codes(plans)
        taken = WidthResources(self._context, self._plan, self._sites, beyond, multiplied)
        choices = [taken.choice(site, found.costs[site.name]) for site in self._sites]
        choices += [choice for choice, _ in activations]
        return BitFront(
            choices=(*choices, taken.rest()),
            fixed=frozenset(site.name for site in self._sites if site.integer),
            whole=taken.whole(self._search.float_bytes),
            timing=cache(partial(self._timing, found.method)),
            planned=self._planned,
            size_of=self._size_of,
            speed=self._speed(),
            hint=self._hint(),
            method=found.method,
            meaning=f"{found.text}; {self._loss.note}" if self._loss.note else found.text,
            others=found.others,
            joint=found.joint,
        )

    def _float_outputs(self, loss: OutputLoss) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yields what the loss looks at, sample by sample; nothing runs before it is asked for."""
        session = make_session(self._model, outputs=loss.values, threads=self._context.threads)
        yield from map(session.run, self._feeds)

    def _choices_of_activations(self, method: str) -> list[tuple[Choice, ActivationSite]]:
        if not self._counts_operations:
            return []
        weights = {site.name for site in self._sites}
        return self._activations.found(self._plan, weights, self._search.fit, method)

    @property
    def _counts_operations(self) -> bool:
        return any(budget.resource == OPERATIONS for budget in self._search.config.budget)

    def _widths(self) -> list[int]:
        """Returns the widths to choose from: of those that are stored alike, the widest alone.

        They differ in operations, where a budget is of these.
        """
        known = self._known_widths()
        if self._counts_operations:
            return known
        return sorted({stored_bits(bits, self._opset): bits for bits in known}.values())

    def _known_widths(self) -> list[int]:
        return [bits for bits in _WIDTHS if bits in self._context.target.weight_bits]

    # ---- plans -----------------------------------------------------------------------------------

    def _sites_of(self, plan: QuantPlan) -> list[WeightSite]:
        nodes = list(self._model.graph)
        wanted = {
            str(node.name): any(str(out.name) in self._loss.values for out in node.outputs)
            for node in nodes
        }
        return weight_sites(
            self._model, plan, reaches(nodes, wanted), self._search.config.keep_float
        )

    def _uniform(self, bits: int) -> QuantPlan:
        return self._with(self._plan, self._sites, {site.name: bits for site in self._sites})

    def _with(self, plan: QuantPlan, sites: list[WeightSite], bits: Mapping[str, int]) -> QuantPlan:
        per_channel = self._search.config.weight_granularity == "channel"
        fitted = self._search.fit(
            self._context, with_bits(plan, sites, bits, per_channel=per_channel)
        )
        return replace(fitted, notes=plan.notes)

    def _planned(self, allocation: Allocation) -> QuantPlan:
        bits = {name: option.bits for name, option in allocation.options.items()}
        forced = {
            str(node.name): _TIME_LEFT
            for site in self._sites
            for node in site.integer
            if not allocation.options[site.name].coded
        }
        if not forced:
            return self._with(self._narrowed(self._plan, bits), self._sites, bits)
        kept = {
            name: self._plan.float_nodes[name]
            for name in self._plan.kept_float
            if name in self._plan.float_nodes
        }
        plan = self._search.replan(self._context, {**kept, **forced})
        plan = replace(plan, notes=self._plan.notes)
        return self._with(self._narrowed(plan, bits), self._sites_of(plan), bits)

    def _narrowed(self, plan: QuantPlan, bits: Mapping[str, int]) -> QuantPlan:
        """Returns ``plan`` with the activations that were given fewer bits than is usual."""
        target = self._context.target
        for name, site in self._values.items():
            if bits[name] < target.activation.bits:
                members = [one for one in site.members if one in plan.values]
                plan = narrowed(plan, members, target.activation_type(bits[name]))
        return plan

    # ---- what time takes ------------------------------------------------------------------------

    def _timing(self, method: str) -> Timing:
        plan, context = self._plan, self._context
        timing = timing_of(self._model.graph, plan.float_nodes, context.target, context.shapes)
        losses = self._activations.losses(plan, method)
        return replace(timing, losses=losses)

    def _speed(self) -> float | None:
        plan, context = self._plan, self._context
        if context.target.costs is None:
            return None
        timing = timing_of(self._model.graph, plan.float_nodes, context.target, context.shapes)
        names = {str(node.name) for node in self._model.graph}
        return timing.of(frozenset(names - set(plan.float_nodes))) / timing.in_float

    # ---- what widths take ------------------------------------------------------------------------

    def _size_of(self, plan: QuantPlan) -> int:
        """Returns the bytes of the file, with what rounding and corrections may add."""
        model, codebooks = self._model, self._search.config.codebooks
        grown = with_room(model, plan, self._context.target, codebooks=codebooks)
        return written_size(self._search.lower(model, grown))

    def _beyond_codes(self, plans: Mapping[int, QuantPlan]) -> dict[int, float]:
        """Returns bits → bytes of a file whose sites all have them, codes left out."""
        return {
            bits: self._size_of(plan) - sum(s.stored_bytes(bits, self._opset) for s in self._sites)
            for bits, plan in plans.items()
        }

    def _hint(self) -> str:
        """Says what would make narrow weights smaller."""
        known = self._known_widths()
        helps = any(stored_bits(b, _NEWEST_OPSET) < stored_bits(b, self._opset) for b in known)
        return f", or --opset {_NEWEST_OPSET}, which has a type of 2 bits" if helps else ""
