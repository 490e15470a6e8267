"""What it costs at the outputs to round activations, each value alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.numerics.affine import dequantize, quantize
from onnxq.search.sensitivity import probe_curvature

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan
    from onnxq.runtime.session import Feed
    from onnxq.tasks.loss import OutputLoss

    Array = npt.NDArray[Any]

__all__ = ["rounding_costs"]

_CODED = "coded"


def rounding_costs(  # noqa: PLR0913 (the last two have defaults and are named at the call)
    model: ir.Model,
    loss: OutputLoss,
    feeds: Sequence[Feed],
    plan: QuantPlan,
    *,
    seed: int = 0,
    threads: int = 1,
) -> dict[str, float]:
    """Returns value name → loss, for the values that ``plan`` quantizes and nodes compute.

    Args:
        model: The float model, normalized.
        loss: Of the task; values behind what it looks at are left out.
        feeds: Samples, at least one.
        plan: With params.
        seed: Of the cotangents.
        threads: Threads inside an operator.
    """
    ahead = _ahead_of(model, loss)
    changes = {
        name: {_CODED: partial(_change, planned)}
        for name, planned in plan.values.items()
        if name in ahead and planned.params is not None
    }
    if not changes:
        return {}
    found = probe_curvature(model, loss, feeds, changes, seed=seed, threads=threads)
    return {name: costs[_CODED] for name, costs in found.costs.items()}


def _ahead_of(model: ir.Model, loss: OutputLoss) -> set[str]:
    """Returns the names of computed values that what the loss looks at depends on, it included."""
    found = set(loss.values)
    for node in reversed(list(model.graph)):
        if any(str(out.name) in found for out in node.outputs):
            found |= {str(value.name) for value in node.inputs if value is not None}
    produced = {str(out.name) for node in model.graph for out in node.outputs}
    return found & produced


def _change(plan: ValuePlan, held: Array) -> Array:
    assert plan.params is not None
    scale, zero_point = plan.params.scale, plan.params.zero_point
    limits = (plan.spec.dtype.qmin, plan.spec.dtype.qmax)
    codes = quantize(np.asarray(held, np.float32), scale, zero_point, limits, plan.spec.axis)
    return dequantize(codes, scale, zero_point, plan.spec.axis) - held
