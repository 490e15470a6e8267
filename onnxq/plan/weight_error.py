"""What rounding does to a weight: Ŵ - W, with Ŵ = scale · (codes - zero_point)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.plan.spec import PerAxis, PerBlock
from onnxq.plan.weight_codes import weight_codes

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.plan.quant_plan import ValuePlan

__all__ = ["weight_error"]


def weight_error(weight: npt.NDArray[np.float32], plan: ValuePlan) -> npt.NDArray[np.float32]:
    """Returns what the planned weight has too much, float32, the shape of ``weight``.

    Args:
        weight: float32, any shape.
        plan: With params.
    """
    assert plan.params is not None, "the check stage refuses plans without params"
    scale = _spread(plan.params.scale, plan, weight.shape)
    zero_point = _spread(plan.params.zero_point, plan, weight.shape)
    reals = (weight_codes(weight, plan).astype(np.int32) - zero_point) * scale
    return np.asarray(reals - weight, np.float32)


def _spread(
    params: npt.NDArray[np.float32] | npt.NDArray[np.int32],
    plan: ValuePlan,
    shape: tuple[int, ...],
) -> npt.NDArray[np.float32]:
    """Returns params in a shape that broadcasts to the weight's."""
    granularity = plan.spec.granularity
    if isinstance(granularity, PerBlock):
        axis = granularity.axis
        kept = (slice(None),) * axis + (slice(shape[axis]),)
        return np.asarray(np.repeat(params, granularity.size, axis)[kept])
    if isinstance(granularity, PerAxis):
        axis = granularity.axis % len(shape)
        return np.asarray(params.reshape([-1 if i == axis else 1 for i in range(len(shape))]))
    return np.asarray(params)
