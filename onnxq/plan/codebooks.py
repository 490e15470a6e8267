"""Weights whose codes come from a codebook: which can have one, and what their plans look like."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnxq.graph.packed import stored_bits
from onnxq.plan.spec import IntType, PerBlock

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from onnxq.plan.quant_plan import ValuePlan
    from onnxq.plan.spec import QuantSpec
    from onnxq.plan.target import Target

__all__ = ["takes_levels", "with_levels"]

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
