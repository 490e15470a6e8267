"""What every width of every layer's weight costs at the outputs, after the rounding to come.

What "auto" measures of single layers need not add up for all of them, nor does what curvature tells
hold far away. Where it measures, both are found, and the loss with all layers rounded can be asked
for to decide between what follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onnxq.errors import ModelError
from onnxq.plan.codebooks import takes_levels
from onnxq.search.bit_costs import bit_costs
from onnxq.search.cost_method import (
    AUTO,
    MEASURED,
    QUADRATIC,
    CostMethod,
    cost_method,
    run_seconds,
)
from onnxq.search.joint_loss import JointLoss, Judgement
from onnxq.search.weight_changes import nearest_changes, rounded_changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx_ir as ir

    from onnxq.config import Config
    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.spec import QuantSpec
    from onnxq.runtime.session import Feed
    from onnxq.tasks.loss import OutputLoss

    Costs = dict[str, dict[int, float]]

__all__ = ["WidthCosts", "width_costs"]

_FEW_BITS = 8
_NEAREST = "nearest"
_WITHOUT_GRADIENT = (MEASURED, "sqnr")
# Samples that all layers are rounded on at once, for each choice anew.
_TOGETHER = 64


@dataclass(frozen=True)
class WidthCosts:
    """What was found.

    Attributes:
        costs: Name of a weight → bits → cost.
        method: How.
        text: What the costs are, in words.
        others: Method → what another one found, where there is a choice of methods.
        joint: Bits of all weights → the loss with them, where there are others.
    """

    costs: Costs
    method: str
    text: str
    others: Mapping[str, Costs] = field(default_factory=dict)
    joint: JointLoss | None = None


def width_costs(  # noqa: PLR0913 (what there is to read, one by one)
    context: PlanContext,
    loss: OutputLoss,
    layers: Mapping[str, ir.Node],
    plans: Mapping[int, QuantPlan],
    feeds: Sequence[Feed],
    method: str,
    config: Config,
) -> WidthCosts:
    """Returns what the widths of weights cost.

    Args:
        context: With the float model.
        loss: Of the task.
        layers: Name of a weight → a layer that reads it.
        plans: Bits → a plan in which these weights have so many, with params.
        feeds: Samples.
        method: One of ``onnxq.search.bit_costs``, or "auto".
        config: How weights will be rounded, and the seed.

    Raises:
        DataError: There is no sample.
        ModelError: The model cannot be differentiated, and the method asks for it.
    """
    seconds = run_seconds(context.model, context.shapes)
    how = cost_method(method, len(layers) * len(plans), len(feeds), seconds)
    judgements = list(_judgements(context, layers, plans, feeds, config))
    try:
        costs = _mean(context, loss, judgements, how, config.seed)
    except ModelError as error:
        if method in _WITHOUT_GRADIENT:
            raise
        if method != AUTO:
            raise ModelError(f"{error}; --sensitivity measured needs no gradient") from error
        how = how.measured("the model has no gradient")
        costs = _mean(context, loss, judgements, how, config.seed)
    found = WidthCosts(costs, how.name, how.text(len(feeds)))
    if method != AUTO or how.name != MEASURED:
        return found
    try:
        others = {QUADRATIC: _mean(context, loss, judgements, CostMethod.curvature(), config.seed)}
    except ModelError:
        return found
    each = -(-_TOGETHER // len(judgements))
    some = [Judgement(one.changes, _spread(one.feeds, each)) for one in judgements]
    joint = JointLoss(context.model, loss, some, context.threads)
    return replace(found, others=others, joint=joint)


def _judgements(
    context: PlanContext,
    layers: Mapping[str, ir.Node],
    plans: Mapping[int, QuantPlan],
    feeds: Sequence[Feed],
    config: Config,
) -> Iterator[Judgement]:
    """Yields what rounding changes, each with samples that it did not fit."""
    nearest = nearest_changes(layers, plans)
    if config.rounding == _NEAREST or len(feeds) < 2:
        yield Judgement(nearest, feeds)
        return
    few = {bits: plan for bits, plan in plans.items() if bits < _FEW_BITS}
    opset = context.model.graph.opset_imports[""]

    def codebook(spec: QuantSpec) -> bool:
        return config.codebooks and takes_levels(spec, context.target, opset)

    halves = feeds[::2], feeds[1::2]
    for by, judges in (halves, halves[::-1]):
        better = rounded_changes(
            context.model, layers, few, by, config.layer_rounding,
            codebook=codebook, threads=context.threads,
        )  # fmt: skip
        changes = {name: {**change, **better.get(name, {})} for name, change in nearest.items()}
        yield Judgement(changes, judges)


def _mean(
    context: PlanContext,
    loss: OutputLoss,
    judgements: Sequence[Judgement],
    how: CostMethod,
    seed: int,
) -> Costs:
    each = -(-how.samples // len(judgements))
    found = [
        bit_costs(
            context.model,
            loss,
            _spread(one.feeds, each),
            one.changes,
            how.name,
            seed=seed,
            threads=context.threads,
        )
        for one in judgements
    ]
    return {
        name: {bits: sum(costs[name][bits] for costs in found) / len(found) for bits in by_bits}
        for name, by_bits in found[0].items()
    }


def _spread(feeds: Sequence[Feed], most: int) -> Sequence[Feed]:
    """Returns so many samples at most, from all over."""
    many = min(most, len(feeds))
    return [feeds[at * len(feeds) // many] for at in range(many)]
