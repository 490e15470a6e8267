"""How to tell what bits cost, and on how many samples: measured, as far as that is affordable.

A measured loss holds however large a change is, and near the kinks of a loss; the curvature tells
what small changes cost, of all layers at once. Measuring runs the model once for each layer, width
and sample. How long that takes is estimated from the times of the target "cpu", so that the choice
does not depend on the machine that takes it. It is affordable within 90 s of one core, on at least
8 samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.plan.placement import timing_of
from onnxq.plan.target import load_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

__all__ = ["AUTO", "MEASURED", "QUADRATIC", "CostMethod", "cost_method", "run_seconds"]

MEASURED, QUADRATIC = "measured", "quadratic"
AUTO = "auto"
"""The choice between these two."""

_LIMIT_SECONDS = 90.0
_FEWEST, _MOST = 8, 256
_MEANINGS = {
    MEASURED: "the task's loss with one layer alone rounded, measured",
    QUADRATIC: "the task's loss with one layer alone rounded, by its curvature",
    "trace": "mean trace of the curvature of the task's loss, times squared rounding",
    "eigenvalue": "top eigenvalue of the curvature of the task's loss, times mean squared rounding",
    "sqnr": "noise over signal at the outputs with one layer alone rounded",
}


class CostMethod(NamedTuple):
    """A way to tell.

    Attributes:
        name: One of ``onnxq.search.bit_costs``.
        samples: To look at, at most.
        reason: Why it was chosen; empty if it was asked for.
    """

    name: str
    samples: int
    reason: str = ""

    @classmethod
    def curvature(cls, reason: str = "") -> CostMethod:
        """Returns the way that takes one gradient for all layers and widths."""
        return cls(QUADRATIC, _MOST, reason)

    def measured(self, reason: str) -> CostMethod:
        """Returns the way that needs nothing but runs, on as many samples as are affordable."""
        return CostMethod(MEASURED, min(self.samples, _FEWEST), reason)

    def text(self, samples: int) -> str:
        """Returns what the costs are, given how many samples there were."""
        told = f"; {self.reason}" if self.reason else ""
        return f"{_MEANINGS[self.name]}, on {min(samples, self.samples)} samples{told}"


def cost_method(wanted: str, changes: int, samples: int, seconds: float) -> CostMethod:
    """Returns how to tell what changes of a model cost.

    Args:
        wanted: A method, or "auto".
        changes: How many models there are to measure.
        samples: How many there are.
        seconds: What the float model takes for one sample.
    """
    if wanted != AUTO:
        return CostMethod(wanted, _MOST)
    each = changes * seconds
    many = min(samples, _MOST)
    affordable = many if many * each <= _LIMIT_SECONDS else int(_LIMIT_SECONDS / each)
    if affordable >= min(many, _FEWEST):
        reason = f"affordable for {changes} models"
        return CostMethod(MEASURED, affordable, reason)
    reason = f"to measure {changes} models would take {_FEWEST * each:.0f} s or more"
    return CostMethod.curvature(reason)


def run_seconds(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> float:
    """Estimates what a float model takes for one sample on a core of a CPU.

    Args:
        model: Normalized.
        shapes: Value name → shape of one sample.
    """
    return timing_of(model.graph, {}, load_target("cpu"), shapes).in_float / 1e6
