"""The stage that completes a plan: ranges, scales, codes and corrections, by the options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from onnxq.calibration_method import AUTO
from onnxq.front_walk import FrontWalk, begin
from onnxq.graph.roles import is_activation
from onnxq.ladder import climb
from onnxq.passes.lower import lowered, simulated
from onnxq.passes.plan import dataless_passes, fitting_passes, half_passes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnxq.config import Config
    from onnxq.foreign import ForeignPasses
    from onnxq.manager import PassManager, Progress
    from onnxq.passbase import PlanContext, PlanPass
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.report.front import FrontPoint
    from onnxq.report.result import Fidelity
    from onnxq.tasks.base import Task

__all__ = ["Fitting", "values_to_observe"]


def values_to_observe(context: PlanContext, plan: QuantPlan, config: Config) -> list[str]:
    """Returns the names of the values that the plan quantizes; for half precision of all."""
    wanted = dict.fromkeys(plan.values)
    if half_passes(config):
        graph = context.model.graph
        values = (*graph.inputs, *(out for node in graph for out in node.outputs))
        wanted |= dict.fromkeys(str(value.name) for value in values if is_activation(value))
    return list(wanted)


@dataclass(frozen=True)
class Fitting:
    """What the passes need that complete a plan.

    Attributes:
        manager: Runs them.
        context: What they may read, with statistics if there is data.
        decided: The plan, without params.
        task: What the outputs mean.
        foreign: Passes of other packages.
        float_bytes: Of the float model's file.
    """

    manager: PassManager
    context: PlanContext
    decided: QuantPlan
    task: Task
    foreign: ForeignPasses
    float_bytes: int

    def complete(
        self, config: Config, judge: Callable[[QuantPlan], Fidelity], progress: Progress
    ) -> tuple[QuantPlan, tuple[FrontPoint, ...]]:
        """Returns the complete plan, and the front of bits where ``--pareto`` asks for it.

        Args:
            config: The options.
            judge: Measures a plan on held-out samples, where several are tried.
            progress: Is told how many were.
        """
        if half := half_passes(config):
            points: tuple[FrontPoint, ...] = ()
            plan = self.decided
            if config.format != "fp16":
                plan, points = self.complete(replace(config, format="qdq"), judge, progress)
            return self.manager.revise(self.context, half, plan), points
        if self.context.stats is None:
            return self.manager.revise(self.context, dataless_passes(config), self.decided), ()
        if config.minimize or config.pareto:
            return self._walked(config, judge, progress)
        if config.calibration != AUTO:
            return self._fitted(config), ()

        def fit(method: str) -> QuantPlan:
            return self._fitted(replace(config, calibration=method))

        return climb(self.manager.trace, fit, judge, config.require, progress), ()

    def _walked(
        self, config: Config, judge: Callable[[QuantPlan], Fidelity], progress: Progress
    ) -> tuple[QuantPlan, tuple[FrontPoint, ...]]:
        passes = self._passes(config)
        plan, left = begin(self.manager, self.context, passes, self.decided)
        walk = FrontWalk(self.context, plan, left, self.foreign.names, judge, config, progress)
        points = walk.points()
        return self.manager.revise(self.context, walk.chosen(), plan), points

    def _fitted(self, config: Config) -> QuantPlan:
        return self.manager.revise(self.context, self._passes(config), self.decided)

    def _passes(self, config: Config) -> Sequence[PlanPass]:
        target = self.context.target
        return fitting_passes(
            config,
            partial(lowered, target=target),
            self.foreign.plans,
            simulate=partial(simulated, target=target),
            at_outputs=self.task.loss,
            float_bytes=self.float_bytes,
        )
