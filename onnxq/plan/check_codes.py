"""Whether the codes that a plan gives a weight can be meant for it.

Codes go stale when a person edits the scale beside them, or the scales per channel of the value
that their node reads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import weight_of
from onnxq.graph.weight_rows import outputs_first
from onnxq.numerics.affine import dequantize
from onnxq.plan.channels import read_factors
from onnxq.plan.quant_plan import ValuePlan
from onnxq.plan.spec import PerAxis, QParams, QuantSpec
from onnxq.plan.weight_codes import weight_codes

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

__all__ = ["channel_codes", "stale_codes"]

# How scales are found of which the codes are near the weight; "" = nobody tells.
_BY_WEIGHT = ("", "minmax", "mse")
# Rounding moves a weight of 8 bits by 1 %, of 4 bits by 15 %.
_FAR = 0.25
_FARTHER = 4
# Elements of a weight that are looked at.
_MOST = 1 << 20


def stale_codes(node: ir.Node, x: ValuePlan, w: ValuePlan) -> float | None:
    """Returns ‖ŵ - w‖ / ‖w‖ of a heavy node's given codes where they cannot be meant for it.

    That is, where they are a quarter off, and four times as far off as plain rounding. The weight
    is what the codes were made for: with the scales per channel of the node's input folded in.
    Large weights are judged by some of their channels. Codes that were chosen by what comes out of
    the layer are not judged: where inputs go together, they may be far off the weight.
    """
    weight = weight_of(node.inputs[1])
    by_weight = w.params is not None and w.params.method in _BY_WEIGHT
    if weight is None or w.codes is None or not by_weight:
        return None
    folded = read_factors(node, x)
    step = -(-weight.size // _MOST)
    wanted = outputs_first(node, weight)[::step].astype(np.float32)
    if folded is not None:
        wanted = wanted * np.broadcast_to(folded, weight.shape)[::step]
    given = channel_codes(node, wanted, w, slice(None, None, step))
    rounded = channel_codes(node, wanted, replace(w, codes=None), slice(None, None, step))
    far, near = (_distance(codes, wanted, w, step) for codes in (given, rounded))
    return far if far > max(_FAR, _FARTHER * near) else None


def _distance(
    codes: npt.NDArray[np.int32], wanted: npt.NDArray[np.float32], w: ValuePlan, step: int
) -> float:
    assert w.params is not None
    scale = w.params.scale[::step] if w.params.scale.ndim else w.params.scale
    zero = np.zeros_like(scale, np.int32)
    reals = dequantize(codes, scale, zero, 0 if scale.ndim else None)
    return float(np.linalg.norm(reals - wanted) / max(float(np.linalg.norm(wanted)), 1e-30))


def channel_codes(
    node: ir.Node, rows: npt.NDArray[np.float32], w: ValuePlan, part: slice
) -> npt.NDArray[np.int32]:
    """Returns the codes of the output channels ``part``, whose weights are ``rows`` [O, …]."""
    if w.codes is not None:
        return outputs_first(node, w.codes)[part]
    assert w.params is not None
    params, granularity = w.params, w.spec.granularity
    if isinstance(granularity, PerAxis):
        params, granularity = QParams(params.scale[part], params.zero_point[part]), PerAxis(0)
    spec = QuantSpec(w.spec.dtype, w.spec.symmetric, granularity)
    return weight_codes(np.asarray(rows, np.float32), ValuePlan(spec, params)).astype(np.int32)
