"""Params of weights by their own values, symmetric.

Of 8 bits and more, the greatest magnitude of each channel, block or weight decides. Fewer bits are
too few codes for that: there the scale of least squared error is searched
(``onnxq.numerics.scale_search``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.scale_search import searched_block_scale, searched_scale
from onnxq.numerics.weight_scale import weight_scale
from onnxq.plan.spec import PerBlock, QParams
from onnxq.plan.weight_codes import code_limits

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.plan.spec import QuantSpec

__all__ = ["FEW_BITS", "weight_params"]

FEW_BITS = 8
"""Weights of fewer bits than this get searched scales."""


def weight_params(
    weight: npt.NDArray[np.float32],
    spec: QuantSpec,
    importance: npt.NDArray[np.float32] | None = None,
    p: float | None = None,
) -> QParams:
    """Returns scales, with zero points of 0.

    Args:
        weight: float32, finite, any shape.
        spec: Of the weight, symmetric.
        importance: Of each weight, of a shape that broadcasts to the weight's; None = all are
            alike. Blocks and weights that are not searched do not ask for it.
        p: Exponent of the error to search for; None = the rule above.
    """
    if isinstance(spec.granularity, PerBlock):
        axis, size = spec.granularity.axis, spec.granularity.size
        scale = searched_block_scale(weight, axis, size, code_limits(spec))
    elif p is not None:
        scale = searched_scale(weight, spec.axis, code_limits(spec), importance, p)
        return QParams(scale, np.zeros_like(scale, np.int32), method="lp", p=p)
    elif spec.dtype.bits < FEW_BITS:
        scale = searched_scale(weight, spec.axis, code_limits(spec), importance)
    else:
        scale = weight_scale(weight, spec.axis, spec.dtype.qmax)
    searched = isinstance(spec.granularity, PerBlock) or spec.dtype.bits < FEW_BITS
    return QParams(scale, np.zeros_like(scale, np.int32), method="mse" if searched else "minmax")
