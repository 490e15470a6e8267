"""The integers that a bias is stored as: int32 with scale float32(x_scale · w_scale)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.plan.channels import common_params, has_channels

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.plan.quant_plan import ValuePlan

__all__ = ["bias_codes"]

_INT32 = np.iinfo(np.int32)


def bias_codes(
    bias: npt.NDArray[np.float32], x: ValuePlan, w: ValuePlan
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Returns codes, int32 [n], and scale, float32 [] or [n], of a bias.

    Args:
        bias: float32 [n], in units of the output.
        x: Plan of the input, with params; channels are read with their common scale.
        w: Plan of the weight, with params.
    """
    assert x.params is not None
    assert w.params is not None
    x_params = common_params(x.params) if has_channels(x) else x.params
    scale = np.asarray(x_params.scale * w.params.scale, np.float32)
    codes = np.clip(np.rint(bias.astype(np.float64) / scale), _INT32.min, _INT32.max)
    return codes.astype(np.int32), scale
