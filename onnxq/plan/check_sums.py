"""Whether the sums that an integer kernel makes fit their registers.

A heavy node sums x codes times w codes, plus a bias code, in int32:

    max |x| · Σ |w| + |bias / (x_scale · w_scale)|  <  2³¹        per output channel

Machines that add neighbouring products in 16 bits first (``Target.pair_bound``) need in addition
that the parts of equal sign of every pair of w codes add up to bound / max x at most; depthwise
kernels add in 32 bits (``onnxq.numerics.pairs``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import only_use, weight_of
from onnxq.graph.roles import conv_kind
from onnxq.graph.weight_rows import outputs_first
from onnxq.numerics.pairs import kernel_rows, pair_excess
from onnxq.plan.channels import common_params, has_channels, writing_of
from onnxq.plan.check_codes import channel_codes
from onnxq.plan.weight_codes import code_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = ["sum_violations"]

_INT32 = 2.0**31
# Elements of a weight handled at once.
_CHUNK = 1 << 20


def sum_violations(
    node: ir.Node, x: ValuePlan, w: ValuePlan, plan: QuantPlan, pair_bound: int | None
) -> Iterator[str]:
    """Yields the output channels of a heavy node whose sums may overflow, the worst of each kind.

    Args:
        node: Conv, Gemm or MatMul with a constant weight.
        x: How its input is planned.
        w: How its weight is planned: one scale, or one per output channel.
        plan: The whole plan, for bias shifts and what the node writes.
        pair_bound: As in the target.
    """
    weight = weight_of(node.inputs[1])
    if weight is None:
        return
    bias = _bias_codes(node, x, w, plan)
    name = node.inputs[1].name  # type: ignore[union-attr]
    if (bias >= _INT32).any():
        yield (
            f"node '{node.name}': the bias of channel {bias.argmax()} needs a code of "
            f"{bias.max():.3g}, more than int32 holds; raise the scale of '{name}'"
        )
        return
    greatest = max(abs(x.spec.dtype.qmin), x.spec.dtype.qmax)
    first = outputs_first(node, weight)
    largest = max(abs(limit) for limit in code_limits(w.spec))
    pair_limit = _pair_limit(node, x, pair_bound)
    most = greatest * largest * (first.size / max(1, len(first))) + bias.max(initial=0)
    if 2 * largest <= pair_limit and most < _INT32:
        return
    sums, excess = _extremes(node, first, w, pair_limit)
    worst = greatest * sums + bias
    if (worst >= _INT32).any():
        yield (
            f"node '{node.name}': the sum of channel {worst.argmax()} may reach {worst.max():.3g}, "
            f"more than int32 holds; raise the scale of '{name}'"
        )
    if (excess > 0).any():
        yield (
            f"node '{node.name}': in channel {excess.argmax()} two neighbouring codes of '{name}' "
            f"exceed the sum that 16 bits hold by {excess.max():.0f}; raise its scale or lower "
            "its codes"
        )


def _pair_limit(node: ir.Node, x: ValuePlan, pair_bound: int | None) -> float:
    if pair_bound is None or (node.op_type == "Conv" and conv_kind(node) == "depthwise"):
        return math.inf
    return pair_bound // x.spec.dtype.qmax


def _extremes(
    node: ir.Node, first: npt.NDArray[np.float32], w: ValuePlan, limit: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns Σ |w code| and by how much pairs exceed ``limit``, float64 [O] each."""
    channels = len(first)
    sums, excess = np.zeros(channels), np.zeros(channels)
    step = max(1, _CHUNK * channels // max(1, first.size))
    for start in range(0, channels, step):
        part = slice(start, start + step)
        codes = channel_codes(node, first[part], w, part)
        sums[part] = np.abs(codes.reshape(len(codes), -1)).sum(axis=1, dtype=np.float64)
        if math.isfinite(limit):
            rows = kernel_rows(codes) if codes.ndim > 2 else codes
            excess[part] = pair_excess(np.asarray(rows, np.int32), int(limit))
    return sums, excess


def _bias_codes(
    node: ir.Node, x: ValuePlan, w: ValuePlan, plan: QuantPlan
) -> npt.NDArray[np.float64]:
    """Returns the magnitude that the bias of each output channel would have, float64 [O]."""
    assert x.params is not None
    assert w.params is not None
    bias = _bias(node)
    total = np.zeros((1, 1)) if bias is None else np.atleast_2d(bias).astype(np.float64)
    total = total + plan.bias_shift.get(str(node.name), np.float32(0))
    writing = writing_of(node, plan)
    if writing is not None:
        total = total + writing.offset / writing.factor.astype(np.float64)
    read = common_params(x.params) if has_channels(x) else x.params
    scale = read.scale.astype(np.float64) * w.params.scale
    return np.asarray(np.abs(total / scale).max(axis=0), np.float64)


def _bias(node: ir.Node) -> npt.NDArray[np.float32] | None:
    """Returns the constant that is added to what the node computes, None if there is none."""
    if node.op_type != "MatMul":
        return weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
    use = only_use(node.outputs[0])
    if use is None or use.node.op_type != "Add":
        return None
    added = weight_of(use.node.inputs[1 - use.position])
    return added if added is not None and added.ndim and added.size == added.shape[-1] else None
