"""The integers that a bias is stored as: int32 with scale float32(x_scale · w_scale)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.qdq import Affine
from onnxq.plan.channels import common_params, has_channels

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.graph.qdq import GraphEditor
    from onnxq.plan.quant_plan import ValuePlan

__all__ = ["bias_codes", "integer_bias", "least_weight_scale"]

_INT32 = np.iinfo(np.int32)
# The other half of the int32 range is the accumulator's.
_LARGEST_CODE = 2.0**30


def bias_codes(
    bias: npt.NDArray[np.float32], x: ValuePlan, w: ValuePlan
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Returns codes, int32 [n], and scale, float32 [] or [n], of a bias.

    Args:
        bias: float32 [n], in units of the output.
        x: Plan of the input, with params; channels are read with their common scale.
        w: Plan of the weight, with params.
    """
    assert w.params is not None
    scale = np.asarray(_read_scale(x) * w.params.scale, np.float32)
    codes = np.clip(np.rint(bias.astype(np.float64) / scale), _INT32.min, _INT32.max)
    return codes.astype(np.int32), scale


def least_weight_scale(bias: npt.NDArray[np.float32], x: ValuePlan) -> npt.NDArray[np.float32]:
    """Returns the least scale of each output's weights with which its bias fits, float32 [n].

    Args:
        bias: float32 [n], in units of the output.
        x: Plan of the input, with params.
    """
    needed = np.abs(bias) / (_LARGEST_CODE * np.asarray(_read_scale(x), np.float64))
    return np.asarray(needed, np.float32)


def _read_scale(x: ValuePlan) -> npt.NDArray[np.float32]:
    assert x.params is not None
    return common_params(x.params).scale if has_channels(x) else x.params.scale


def integer_bias(
    editor: GraphEditor, stem: str, bias: npt.NDArray[np.float32], x: ValuePlan, w: ValuePlan
) -> ir.Value:
    """Returns a bias, stored as int32, dequantized at the graph's start.

    Args:
        editor: Of the graph.
        stem: Start of the names.
        bias: As for :func:`bias_codes`.
        x: As for :func:`bias_codes`.
        w: As for :func:`bias_codes`.
    """
    codes, scale = bias_codes(bias, x, w)
    affine = Affine(scale, None, 0 if scale.ndim else None)
    constant = editor.constant(f"{stem}_codes", codes)
    return editor.dequantize(constant, affine, stem=stem)
