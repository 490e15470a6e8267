"""Weights whose codes come from a codebook: which can have one, and what their plans look like."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.packed import stored_bits
from onnxq.graph.weight_rows import to_rows
from onnxq.numerics.codebook import WORTH, fitted_codebook
from onnxq.plan.spec import IntType, PerAxis, PerBlock, QParams
from onnxq.plan.weight_error import weight_error

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import ValuePlan
    from onnxq.plan.spec import QuantSpec
    from onnxq.plan.target import Target

__all__ = ["takes_levels", "with_levels", "worth_levels"]

_WIDE = IntType(8, signed=True)


def takes_levels(spec: QuantSpec, target: Target, opset: int) -> bool:
    """Says whether a weight may have a codebook.

    Its codes are stored in fewer bits than kernels multiply, and onnxruntime looks the levels up as
    it loads the model.

    Args:
        spec: Of the weight.
        target: What runs the result.
        opset: Of the result.
    """
    packed = stored_bits(spec.dtype.bits, opset) < _WIDE.bits
    blocks = isinstance(spec.granularity, PerBlock)
    return packed and not blocks and target.onnxruntime_kernels


def with_levels(plan: ValuePlan, levels: npt.NDArray[np.int32]) -> ValuePlan:
    """Returns the plan of a weight, params and codes as they are, with a codebook."""
    return replace(plan, spec=replace(plan.spec, dtype=_WIDE), levels=levels)


def worth_levels(node: ir.Node, weight: npt.NDArray[np.float32], plan: ValuePlan) -> ValuePlan:
    """Returns a plan with a codebook where that brings the weight itself closer, else ``plan``.

    Args:
        node: A layer that reads the weight.
        weight: float32, its shape.
        plan: With params in even steps; its type may have a codebook.
    """
    rows, every = to_rows(node, weight), isinstance(plan.spec.granularity, PerAxis)
    coded = fitted_codebook(rows, np.ones(1), 1 << plan.spec.dtype.bits, per_row=every)
    if coded is None:
        return plan
    scale = coded.scale.reshape(-1) if every else coded.scale.reshape(-1)[0]
    params = QParams(scale, np.zeros(np.shape(scale), np.int32), "mse")
    found = with_levels(replace(plan, params=params), coded.codebook.levels)
    before, after = (
        float(np.square(weight_error(weight, one), dtype=np.float64).sum()) for one in (plan, found)
    )
    return found if after < (1 - WORTH) * before else plan
