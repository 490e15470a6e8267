"""The stage that completes a plan: ranges, scales, codes and corrections, by the options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from onnxq.calibration_method import AUTO
from onnxq.ladder import climb
from onnxq.passes.lower import lowered, simulated
from onnxq.passes.plan import dataless_passes, fitting_passes

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnxq.config import Config
    from onnxq.foreign import ForeignPasses
    from onnxq.manager import PassManager, Progress
    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.report.result import Fidelity
    from onnxq.tasks.base import Task

__all__ = ["Fitting"]


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
    ) -> QuantPlan:
        """Returns the complete plan.

        Args:
            config: The options.
            judge: Measures a plan on held-out samples, where several are tried.
            progress: Is told how many were.
        """
        if self.context.stats is None:
            return self.manager.revise(self.context, dataless_passes(config), self.decided)
        if config.calibration != AUTO:
            return self._by(config, config.calibration)
        fit = partial(self._by, config)
        return climb(self.manager.trace, fit, judge, config.require, progress)

    def _by(self, config: Config, method: str) -> QuantPlan:
        target = self.context.target
        passes = fitting_passes(
            replace(config, calibration=method),
            partial(lowered, target=target),
            self.foreign.plans,
            simulate=partial(simulated, target=target),
            at_outputs=self.task.loss,
            float_bytes=self.float_bytes,
        )
        return self.manager.revise(self.context, passes, self.decided)
