"""The integers that a plan stores for a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.affine import quantize
from onnxq.plan.spec import PerAxis, PerBlock

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.plan.quant_plan import ValuePlan
    from onnxq.plan.spec import QuantSpec

__all__ = ["code_limits", "weight_codes"]


def code_limits(spec: QuantSpec) -> tuple[int, int]:
    """Returns the least and the greatest code; [-qmax, qmax] for symmetric signed types."""
    dtype = spec.dtype
    return (-dtype.qmax if spec.symmetric and dtype.signed else dtype.qmin), dtype.qmax


def weight_codes(weight: npt.NDArray[np.float32], plan: ValuePlan) -> npt.NDArray[np.integer]:
    """Returns the codes of ``weight``, in its shape and the plan's storage type.

    Args:
        weight: float32, any shape.
        plan: With params. Its own codes are taken where it has some; otherwise the weight is
            rounded to the nearest.
    """
    spec, params = plan.spec, plan.params
    assert params is not None, "the check stage refuses plans without params"
    if plan.codes is not None:
        return plan.codes.astype(spec.dtype.storage)
    scale, zero_point, axis = params.scale, params.zero_point, None
    if isinstance(spec.granularity, PerAxis):
        axis = spec.granularity.axis
    elif isinstance(spec.granularity, PerBlock):
        along, size = spec.granularity.axis, spec.granularity.size
        kept = (slice(None),) * along + (slice(weight.shape[along]),)
        scale = np.repeat(scale, size, along)[kept]
        zero_point = np.repeat(zero_point, size, along)[kept]
    codes = quantize(weight, scale, zero_point, code_limits(spec), axis)
    return codes.astype(spec.dtype.storage)
