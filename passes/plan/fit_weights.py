"""Scales of weights: symmetric, from the greatest magnitude of each channel or weight.

Fewer than 8 bits are too few codes for that: their scale is searched for the least squared error,
each weight counting as much as its input is large (``onnxq.numerics.scale_search``).

A convolution that reads a value with a scale per channel has those scales folded into its weight
first (``onnxq.plan.channels``); its codes are then part of the plan.

Columns that are taken out of a weight (``onnxq.plan.clusters``) get scales of their own; they have
no bias.

Two conditions raise a scale:

1. Pair sums that would saturate on machines without VNNI (``onnxq.numerics.pairs``). Depthwise
   kernels add in 32 bits and are exempt.
2. A bias whose int32 code at scale x_scale · w_scale would leave half of the int32 range; the other
   half is the accumulator's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.on_disk import kept
from onnxq.graph.roles import is_constant, weight_channel_axis
from onnxq.numerics.affine import quantize
from onnxq.numerics.pairs import kernel_rows, limit_pairs, pair_excess, pair_scale_factor
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.bias_codes import least_weight_scale
from onnxq.plan.channels import read_factors
from onnxq.plan.clusters import columns_of
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.pair_limit import pair_limit
from onnxq.plan.quant_plan import Use
from onnxq.plan.spec import PerAxis, QParams
from onnxq.plan.target import OpKind
from onnxq.plan.weight_codes import code_limits
from onnxq.plan.weight_importance import weight_importance
from onnxq.plan.weight_params import weight_params

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.clusters import ClusterSplit
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = ["FitWeights"]


def _channels_first(node: ir.Node, weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the weight with its output channels along axis 0."""
    return np.moveaxis(weight, weight_channel_axis(node), 0)


def _bias(node: ir.Node) -> npt.NDArray[np.float32] | None:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None or bias.const_value is None:
        return None
    return np.asarray(bias.const_value.numpy(), np.float32).reshape(-1)


@dataclass(frozen=True)
class FitWeights(PlanPass):
    """Gives every planned weight its params, and codes where pairs had to be limited.

    Codes that were chosen before, and their codebook, are given up: they belong to other scales.

    Attributes:
        p: Exponent of the error whose least decides the scales; None = the rules above.
    """

    name = "fit-weights"
    after = frozenset({"fit-activations", "split-outliers"})

    p: float | None = None

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the params of all planned weights."""
        values: dict[str, ValuePlan] = {}
        clusters = dict(plan.clusters)
        notes: list[Note] = []
        for node in context.model.graph:
            rule = context.target.ops.get(node.op_type)
            if rule is None or rule.kind is not OpKind.HEAVY or not is_constant(node.inputs[1]):
                continue
            source, weight = node.inputs[0], node.inputs[1]
            assert source is not None
            assert weight is not None
            name = str(weight.name)
            wish = plan.values.get(name)
            x = plan.of(str(source.name), Use(str(node.name), 0))
            if wish is None or x is None or x.params is None:
                continue
            array = np.asarray(weight.const_value.numpy(), np.float32)  # type: ignore[union-attr]
            fitted, why = _fit(node, array, values.get(name, wish), x, context, p=self.p)
            values[name] = fitted
            if (split := clusters.get(str(source.name))) is not None:
                clusters[str(source.name)] = _with_columns(node, array, split, context)
            if why:
                notes.append(Note(NoteKind.INFO, self.name, str(node.name), why))
        return replace(plan.with_values(values), clusters=clusters).with_notes(notes)


def _with_columns(
    node: ir.Node, weight: npt.NDArray[np.float32], split: ClusterSplit, context: PlanContext
) -> ClusterSplit:
    """Returns ``split`` with the params of the columns of this node's weight."""
    parts = []
    for part in split.parts:
        columns = columns_of(node, weight, part.channels)
        wish = part.weights[str(node.name)]
        fitted, _ = _fit(node, columns, wish, part.value, context, biased=False)
        parts.append(replace(part, weights={**part.weights, str(node.name): fitted}))
    return replace(split, parts=tuple(parts))


def _fit(  # noqa: PLR0913 (a weight, and all that bears on its scale)
    node: ir.Node,
    weight: npt.NDArray[np.float32],
    wish: ValuePlan,
    x: ValuePlan,
    context: PlanContext,
    *,
    biased: bool = True,
    p: float | None = None,
) -> tuple[ValuePlan, str]:
    assert x.params is not None
    folded = read_factors(node, x)
    if folded is not None:
        weight = weight * folded
    first = _channels_first(node, weight)
    rows = np.asarray(kernel_rows(first) if first.ndim > 2 else first, np.float32)
    dtype = wish.spec.dtype
    per_axis = isinstance(wish.spec.granularity, PerAxis)
    axis = weight_channel_axis(node) if per_axis else None
    found = weight_params(weight, wish.spec, _importance(node, weight, folded, context), p)
    scale = found.scale
    if wish.params is not None:
        scale = np.maximum(scale, wish.params.scale)
    reasons = []
    bias = _bias(node) if biased else None
    if bias is not None:
        needed = least_weight_scale(bias, x)
        least = needed if per_axis else needed.max(initial=0.0)
        if (least > scale).any():
            reasons.append("scale raised for the int32 bias")
            scale = np.maximum(scale, least)
    codes = None
    limit = pair_limit(node, context.target)
    if limit is not None and 2 * dtype.qmax > limit:
        factor = pair_scale_factor(rows, scale, limit)
        if (factor > 1).any():
            reasons.append(f"scale raised by up to {factor.max():.2f} against 16-bit saturation")
            scale = np.asarray(scale * factor, np.float32)
        codes = _limited_codes(node, first, scale, dtype.qmax, limit)
    if codes is None and folded is not None:
        zero = np.zeros_like(scale, np.int32)
        codes = quantize(weight, scale, zero, code_limits(wish.spec), axis)
    params = QParams(scale, np.zeros_like(scale, np.int32), found.method, found.p)
    stored = None if codes is None else kept(codes)
    return replace(wish, params=params, codes=stored, levels=None), "; ".join(reasons)


def _importance(
    node: ir.Node,
    weight: npt.NDArray[np.float32],
    folded: npt.NDArray[np.float32] | None,
    context: PlanContext,
) -> npt.NDArray[np.float32] | None:
    """Returns how much each weight counts; None for all alike, as for some columns of a weight."""
    name, whole = str(node.inputs[0].name), node.inputs[1]  # type: ignore[union-attr]
    if context.stats is None or name not in context.stats or whole is None or whole.shape is None:
        return None
    if weight.shape != tuple(whole.shape.numpy()):
        return None
    shape = context.shapes.get(name)
    found = weight_importance(node, context.stats[name], None if shape is None else len(shape))
    return found if found is None or folded is None else np.asarray(found / folded**2, np.float32)


def _limited_codes(
    node: ir.Node,
    first: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    qmax: int,
    limit: int,
) -> npt.NDArray[np.int32] | None:
    """Returns codes of the weight's shape whose pairs keep the limit; None if rounding does."""
    axis = 0 if scale.ndim else None
    codes = quantize(first, scale, np.zeros_like(scale, np.int32), (-qmax, qmax), axis)
    rows = np.asarray(kernel_rows(codes) if codes.ndim > 2 else codes, np.int32)
    if not pair_excess(rows, limit).any():
        return None
    bounded = limit_pairs(rows, limit)
    if codes.ndim > 2:
        inner = (*codes.shape[2:], codes.shape[1])
        bounded = np.moveaxis(bounded.reshape(codes.shape[0], *inner), -1, 1)
    return np.ascontiguousarray(np.moveaxis(bounded, 0, weight_channel_axis(node)))
