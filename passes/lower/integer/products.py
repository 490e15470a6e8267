"""What all layers with a weight share: its codes, the product, and what becomes of the sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.bias import added_bias
from onnxq.graph.qdq import Affine
from onnxq.graph.query import weight_of
from onnxq.numerics.accumulators import product_bounds
from onnxq.numerics.fixed_point import Term
from onnxq.numerics.pairs import pair_excess
from onnxq.passes.lower.integer.rescale import rescaled
from onnxq.plan.quant_plan import Use
from onnxq.plan.weight_codes import weight_codes

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.passes.lower.integer.emitter import Codes
    from onnxq.passes.lower.integer.scope import Scope
    from onnxq.plan.quant_plan import ValuePlan

__all__ = ["MIDDLE", "finish", "product", "unsigned", "weight_of_node"]

MIDDLE = 128
"""Zero point of weights that are stored without a sign."""

_PAIR_BOUND = 32767
_INT32 = np.iinfo(np.int32)


def product(scope: Scope, value: ir.Value, x: Codes, rows: npt.NDArray[np.integer]) -> ir.Value:
    """Returns MatMulInteger with the weights [O, K], unsigned where pairs could saturate."""
    stem = str(scope.node.outputs[0].name)
    zero = scope.constant("zero", x.zero, np.uint8)
    matrix = np.ascontiguousarray(rows.T)
    if pair_excess(rows, _PAIR_BOUND // x.limits[1]).any():
        middle = scope.constant("zero", MIDDLE, np.uint8)
        inputs = [value, unsigned(scope, matrix, stem), zero, middle]
    else:
        inputs = [value, scope.constant(f"{stem}_weight", matrix, np.int8), zero]
    return scope.op("MatMulInteger", inputs, ir.DataType.INT32, f"{stem}_sums")


def unsigned(scope: Scope, codes: npt.NDArray[np.integer], stem: str) -> ir.Value:
    """Returns signed codes as a constant of zero point :data:`MIDDLE`."""
    return scope.constant(f"{stem}_weight", codes.astype(np.int16) + MIDDLE, np.uint8)


def weight_of_node(scope: Scope) -> npt.NDArray[np.integer]:
    """Returns the codes of the node's weight, in its shape."""
    planned, values = _weight_plan(scope), weight_of(scope.node.inputs[1])
    assert values is not None
    return weight_codes(values, planned)


def _weight_plan(scope: Scope) -> ValuePlan:
    weight = scope.node.inputs[1]
    assert weight is not None
    planned = scope.plan.of(str(weight.name), Use(str(scope.node.name), 1))
    if planned is None or planned.params is None or planned.params.zero_point.any():
        raise scope.refusal("its weight has no symmetric integers")
    return planned


def _bias(scope: Scope, factor: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the bias in units of the sums, rounded as an int32 bias is: whole numbers."""
    node = scope.node
    given = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
    behind = added_bias(node.outputs[0]) if node.op_type == "MatMul" and scope.target() else None
    if behind is not None and str(node.outputs[0].name) not in scope.plan.values:
        given = behind[2]
    shift = scope.plan.bias_shift.get(str(node.name))
    total = np.zeros(len(factor))
    for part in (given, shift):
        total = total + (0.0 if part is None else part.astype(np.float64).reshape(-1))
    return np.asarray(np.rint(total / factor), np.float64)


def finish(  # noqa: PLR0913 (the sums, what they are made of, and how they lie)
    scope: Scope,
    acc: ir.Value,
    x: Codes,
    rows: npt.NDArray[np.integer],
    shape: tuple[int, ...],
    *,
    last: bool,
) -> None:
    """Brings the sums to the output's codes, or lets them leave."""
    params = _weight_plan(scope).params
    assert params is not None
    factor = np.broadcast_to(x.scale * params.scale.astype(np.float64), len(rows)).copy()
    low, high = product_bounds(rows, x.limits[0] - x.zero, x.limits[1] - x.zero)
    bias = _bias(scope, factor)
    if max(-low.min(), high.max()) > _INT32.max:
        raise scope.refusal("its sums could leave int32")
    target = scope.target()
    if target is None:
        _leave(scope, acc, factor, (low, high), bias, shape, last=last)
        return
    stem = str(target.name)
    term = Term(factor, low, high)
    codes = rescaled(scope, [acc], [term], scope.written(target), stem, bias * factor, shape)
    scope.write(target, codes, last=last)


def _leave(  # noqa: PLR0913 (as for _finish)
    scope: Scope,
    acc: ir.Value,
    factor: npt.NDArray[np.float64],
    bounds: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    bias: npt.NDArray[np.float64],
    shape: tuple[int, ...],
    *,
    last: bool,
) -> None:
    """Lets the sums leave, with the bias in int32."""
    out = scope.node.outputs[0]
    stem = str(out.name)
    scale = factor.astype(np.float32)
    low, high = bounds
    if (low + bias < _INT32.min).any() or (high + bias > _INT32.max).any():
        raise scope.refusal("its bias does not fit int32")
    if bias.any():
        constant = scope.constant(f"{stem}_bias", bias.reshape(shape), np.int32)
        acc = scope.op("Add", [acc, constant], ir.DataType.INT32, f"{stem}_biased")
    if last:
        acc = scope.transposed(acc, (0, 3, 1, 2), f"{stem}_first")
    rank = None if out.shape is None else len(out.shape)
    gemm_axis = (rank or 2) - 1
    axis = 1 if scope.node.op_type == "Conv" else gemm_axis
    real = scope.editor.dequantize(acc, Affine(scale, None, axis), stem=stem, before=scope.node)
    real.shape = out.shape
    if len(scale) == 1:
        # onnxruntime moves one scale behind a Reshape, and quantizes to int32 there, or would
        real = scope.editor.shield(real, after=real.producer())
    scope.replace(out, real)
