"""The integers that a plan stores for a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.affine import quantize
from onnxq.numerics.grid import Codebook
from onnxq.plan.spec import PerAxis, PerBlock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import EllipsisType

    import numpy.typing as npt

    from onnxq.plan.quant_plan import ValuePlan
    from onnxq.plan.spec import QuantSpec

__all__ = ["code_limits", "weight_codes"]

_BALANCED_BITS = 8
# Elements that are quantized at once.
_AT_ONCE = 1 << 20


def code_limits(spec: QuantSpec) -> tuple[int, int]:
    """Returns the least and the greatest code.

    Symmetric signed types of 8 bits and more leave their least code out. Narrower ones have few:
    the last of 16 is worth 0.3 to 0.5 dB, the last of 4 about 1 dB.
    """
    dtype = spec.dtype
    balanced = spec.symmetric and dtype.signed and dtype.bits >= _BALANCED_BITS
    return (-dtype.qmax if balanced else dtype.qmin), dtype.qmax


def weight_codes(weight: npt.NDArray[np.float32], plan: ValuePlan) -> npt.NDArray[np.integer]:
    """Returns the codes of ``weight``, in its shape and the plan's storage type.

    Args:
        weight: float32, any shape.
        plan: With params. Its own codes are taken where it has some; otherwise the weight is
            rounded to the nearest, of its levels if it has such.
    """
    spec, params = plan.spec, plan.params
    assert params is not None, "the check stage refuses plans without params"
    if plan.codes is not None:
        return plan.codes.astype(spec.dtype.storage)
    scale, zero_point, axis = params.scale, params.zero_point, None
    if isinstance(spec.granularity, PerAxis):
        axis = spec.granularity.axis
    if plan.levels is not None:
        ones = [-1 if at == axis else 1 for at in range(weight.ndim)]
        reals = weight / (scale if axis is None else scale.reshape(ones))
        return Codebook(plan.levels).nearest(reals).astype(spec.dtype.storage)
    if isinstance(spec.granularity, PerBlock):
        along, size = spec.granularity.axis, spec.granularity.size
        kept = (slice(None),) * along + (slice(weight.shape[along]),)
        scale = np.repeat(scale, size, along)[kept]
        zero_point = np.repeat(zero_point, size, along)[kept]
    codes = np.empty(weight.shape, spec.dtype.storage)
    for part in _parts(weight):
        own = scale, zero_point
        if isinstance(spec.granularity, PerBlock) or (axis is not None and axis % weight.ndim == 0):
            own = scale[part], zero_point[part]
        codes[part] = quantize(weight[part], *own, code_limits(spec), axis)
    return codes


def _parts(weight: npt.NDArray[np.float32]) -> Iterator[slice | EllipsisType]:
    """Cuts a weight along its first axis, lest every step of a large one takes its memory again."""
    if weight.size <= _AT_ONCE:
        yield ...
        return
    step = max(1, _AT_ONCE * len(weight) // weight.size)
    for start in range(0, len(weight), step):
        yield slice(start, start + step)
