"""Lowerings: (model, plan) to a new model; they decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.lower.weight_only import LowerWeightsOnly

if TYPE_CHECKING:
    from onnxq.passbase import LoweringPass
    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["lowering_of"]


def lowering_of(plan: QuantPlan, *, with_data: bool) -> LoweringPass:
    """Returns the lowering of ``plan``: with activations on integers, or weights alone."""
    return LowerToQdq(plan) if with_data else LowerWeightsOnly(plan)
