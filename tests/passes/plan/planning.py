"""What plan passes and lowerings are tested with: a context, and targets that choose integers."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.io import fingerprint
from onnxq.numerics.statistics import Stats, ValueStats
from onnxq.passbase import PlanContext
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.plan.cost import CostTable, KernelCost
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import IntType
from onnxq.plan.target import load_target
from onnxq.runtime.observe import observe
from onnxq.runtime.session import make_session
from tests.passes.rewrite.building import build
from tests.support import feeds_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.passbase import PlanPass
    from onnxq.plan.target import Target

    Feeds = Mapping[str, npt.NDArray[Any]]

__all__ = [
    "build",
    "context_for",
    "eager_target",
    "hand_context",
    "plan_for",
    "revised",
    "samples_for",
    "stats_of",
]


def eager_target(activation: str = "uint8") -> Target:
    """The CPU target with costs by which every node that can run on integers does."""
    cpu = load_target("cpu")
    kinds = [*cpu.ops, "dense", "depthwise", "stem", "matmul"]
    costs = CostTable(
        integer={}, real=dict.fromkeys(kinds, KernelCost(call_us=100.0)),
        quantize=KernelCost(), dequantize=KernelCost(),
    )  # fmt: skip
    return replace(cpu, costs=costs, activation=IntType.parse(activation))


def samples_for(source: ir.Model, count: int = 8) -> list[Feeds]:
    return [feeds_for(source, seed=seed, batch=1) for seed in range(count)]


def context_for(
    source: ir.Model, target: Target | None = None, samples: Sequence[Feeds] | None = None
) -> PlanContext:
    """Observes ``source`` on samples, as the pipeline does."""
    feeds = samples_for(source) if samples is None else list(samples)
    inner = [str(value.name) for node in source.graph for value in node.outputs]
    names = [*(str(value.name) for value in source.graph.inputs), *inner]
    arrays = {**feeds[0], **make_session(source, optimize=False, outputs=inner).run(feeds[0])}
    return PlanContext(
        model=source,
        target=eager_target() if target is None else target,
        stats=observe(source, feeds, names),
        shapes={name: array.shape for name, array in arrays.items()},
        samples=lambda count: islice(feeds, count),
    )


def hand_context(
    source: ir.Model, stats: Mapping[str, ValueStats] | None = None, target: Target | None = None
) -> PlanContext:
    """A context without data: statistics as given, shapes as inferred; needs no session."""
    values = [*source.graph.inputs, *(out for node in source.graph for out in node.outputs)]
    shapes = {str(v.name): tuple(v.shape.numpy()) for v in values if v.shape is not None}
    return PlanContext(
        model=source,
        target=eager_target() if target is None else target,
        stats=None if stats is None else Stats(dict(stats), samples=1),
        shapes=shapes,
        samples=lambda _count: [],
    )


def stats_of(x: npt.ArrayLike, axis: int | None = None) -> ValueStats:
    return ValueStats.of(np.asarray(x, np.float32), axis)


def revised(pass_: PlanPass, context: PlanContext, plan: QuantPlan) -> QuantPlan:
    """Runs one plan pass and asserts that it left the model and the old plan alone."""
    before = fingerprint(context.model)
    values = dict(plan.values)
    result = pass_.revise(context, plan)
    assert fingerprint(context.model) == before
    assert dict(plan.values) == values
    return result


def plan_for(
    context: PlanContext, assign: AssignIntegers | None = None, method: str = "minmax"
) -> QuantPlan:
    """The plan of the three passes that every plan begins with."""
    plan = revised(AssignIntegers() if assign is None else assign, context, QuantPlan())
    plan = revised(FitActivations(method), context, plan)
    return revised(FitWeights(), context, plan)
