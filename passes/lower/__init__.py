"""Lowerings: (model, plan) to a new model; they decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.passes.lower.half import LowerToHalf
from onnxq.passes.lower.integer import LowerToInteger
from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.lower.qoperator import LowerToQoperator
from onnxq.passes.lower.simulate import named_apart
from onnxq.passes.lower.weight_only import LowerWeightsOnly

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.passbase import LoweringPass
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.target import Target
    from onnxq.search.simulation import Simulation

__all__ = ["lowered", "lowering_of", "lowerings", "simulated"]

_WEIGHTS = "weights alone"
# forms that plans without quantized activations have too
_WHOLE = ("integer", "integer-int32", "fp16")


def lowerings(plan: QuantPlan, target: Target | None = None) -> dict[str, LoweringPass]:
    """Returns all lowerings of ``plan`` by the form that options call, and weights alone.

    Args:
        plan: What to emit.
        target: For whom; None = onnxruntime's CPU provider.
    """
    pairs = LowerToQdq(plan)
    if target is not None:
        pairs = LowerToQdq(
            plan, integer_bias=target.integer_bias, onnxruntime_kernels=target.onnxruntime_kernels
        )
    return {
        "qdq": pairs,
        _WEIGHTS: LowerWeightsOnly(plan),
        "integer": LowerToInteger(plan),
        "integer-int32": LowerToInteger(plan, narrow=True),
        "qoperator": LowerToQoperator(plan, pairs),
        "fp16": LowerToHalf(plan),
    }


def lowering_of(
    plan: QuantPlan, model: ir.Model, target: Target | None = None, form: str = "qdq"
) -> LoweringPass:
    """Returns the lowering that ``plan`` asks for: weights alone where it plans nothing else.

    Args:
        plan: What to emit.
        model: The float model.
        target: As for :func:`lowerings`.
        form: What ``--format`` says; "integer-int32" where ``--rescale`` says so too.
    """
    if form == "qdq+fp16":
        return LowerToHalf(plan, lowering_of(plan, model, target))
    activations = {str(out.name) for node in model.graph for out in node.outputs}
    activations |= {str(value.name) for value in model.graph.inputs}
    known = plan.uses or activations & set(plan.values)
    return lowerings(plan, target)[form if known or form in _WHOLE else _WEIGHTS]


def lowered(model: ir.Model, plan: QuantPlan, target: Target | None = None) -> ir.Model:
    """Returns the quantized model of ``plan``, for passes that measure it."""
    return lowering_of(plan, model, target)(model).model


def simulated(model: ir.Model, plan: QuantPlan, target: Target | None = None) -> Simulation:
    """Returns the same model with its scales and zero points apart, for a search."""
    return named_apart(lowered(model, plan, target))
