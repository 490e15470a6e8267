"""Lowerings: (model, plan) to a new model; they decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.passes.lower.integer import LowerToInteger
from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.lower.simulate import named_apart
from onnxq.passes.lower.weight_only import LowerWeightsOnly

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.passbase import LoweringPass
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.target import Target
    from onnxq.search.simulation import Simulation

__all__ = ["lowered", "lowering_of", "lowerings", "simulated"]


def lowerings(plan: QuantPlan, target: Target | None = None) -> tuple[LoweringPass, ...]:
    """Returns all lowerings of ``plan``: with activations on integers, weights alone, no float.

    Args:
        plan: What to emit.
        target: For whom; None = onnxruntime's CPU provider.
    """
    whole = LowerToInteger(plan)
    if target is None:
        return LowerToQdq(plan), LowerWeightsOnly(plan), whole
    integers = LowerToQdq(
        plan, integer_bias=target.integer_bias, onnxruntime_kernels=target.onnxruntime_kernels
    )
    return integers, LowerWeightsOnly(plan), whole


def lowering_of(
    plan: QuantPlan, model: ir.Model, target: Target | None = None, form: str = "qdq"
) -> LoweringPass:
    """Returns the lowering that ``plan`` asks for: weights alone where it plans nothing else.

    Args:
        plan: What to emit.
        model: The float model.
        target: As for :func:`lowerings`.
        form: What ``--format`` says.
    """
    integers, weights, whole = lowerings(plan, target)
    if form == "integer":
        return whole
    activations = {str(out.name) for node in model.graph for out in node.outputs}
    activations |= {str(value.name) for value in model.graph.inputs}
    return integers if plan.uses or activations & set(plan.values) else weights


def lowered(model: ir.Model, plan: QuantPlan, target: Target | None = None) -> ir.Model:
    """Returns the quantized model of ``plan``, for passes that measure it."""
    return lowering_of(plan, model, target)(model).model


def simulated(model: ir.Model, plan: QuantPlan, target: Target | None = None) -> Simulation:
    """Returns the same model with its scales and zero points apart, for a search."""
    return named_apart(lowered(model, plan, target))
