"""Conv, Gemm and MatMul: products of codes with integer weights, summed in int32.

1. A convolution of [N, H, W, C] is a matrix product: rows of kernel taps, gathered by Slice and
   Concat, times a matrix [kernel row · kernel column · input channel, output channel]. On x86 with
   VNNI that is two to five times as fast as ConvInteger, whose kernel for signed weights is slow.
2. Convolutions with groups, with few input channels, or of other rank are ConvInteger of
   [N, C, …] with unsigned weights of zero point 128.
3. MatMulInteger with signed weights adds pairs of products in 16 bits on some machines. Where a
   pair could saturate there, weights are unsigned.
4. Accumulators are bounded by the codes' range and the weights; the bounds decide how they are
   rescaled (``onnxq.numerics.fixed_point``). The bias is rounded to a whole number of their units,
   as where it is stored in int32, and joins the addend.
5. Products of two values are unsigned by unsigned, with one scale each.
6. What nothing on integers reads leaves as the accumulators themselves, with the bias in int32,
   through a DequantizeLinear of scale x_scale · w_scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.bias import added_bias
from onnxq.graph.qdq import Affine
from onnxq.graph.query import shape_of, weight_of
from onnxq.graph.roles import attribute, weight_channel_axis
from onnxq.numerics.accumulators import product_bounds
from onnxq.numerics.fixed_point import Term
from onnxq.numerics.pairs import pair_excess
from onnxq.passes.lower.integer.rescale import product_term, rescaled
from onnxq.passes.lower.integer.scope import PLANAR, Scope
from onnxq.plan.quant_plan import Use
from onnxq.plan.weight_codes import weight_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnxq.passes.lower.integer.emitter import Codes
    from onnxq.plan.quant_plan import ValuePlan

__all__ = ["HANDLERS"]

_PAIR_BOUND = 32767
_MIDDLE = 128
_FEW_CHANNELS = 8
_INT32 = np.iinfo(np.int32)
_END = np.iinfo(np.int64).max


def _conv(scope: Scope) -> None:
    node = scope.node
    weight = _weight(scope)
    if weight.ndim == PLANAR and _as_product(node, weight):
        x = scope.read(0, last=True)
        rows = np.moveaxis(weight, 1, -1).reshape(len(weight), -1)
        acc = _product(scope, _gathered(scope, x, weight.shape), x, rows)
        _finish(scope, acc, x, rows, (-1,), last=True)
        return
    x = scope.read(0)
    stem = str(node.outputs[0].name)
    zeros = [scope.constant("zero", z, np.uint8) for z in (x.zero, _MIDDLE)]
    codes = _unsigned(scope, weight, stem)
    attributes = {name: found.value for name, found in node.attributes.items()}
    inputs = [x.value, codes, *zeros]
    acc = scope.op("ConvInteger", inputs, ir.DataType.INT32, f"{stem}_sums", attributes)
    rows = weight.reshape(len(weight), -1)
    _finish(scope, acc, x, rows, (-1, *[1] * (weight.ndim - 2)), last=False)


def _as_product(node: ir.Node, weight: npt.NDArray[np.integer]) -> bool:
    """Rules 1 and 2."""
    if attribute(node, "group", 1) != 1 or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return False
    return weight.shape[1] >= _FEW_CHANNELS or weight.shape[2:] == (1, 1)


def _gathered(scope: Scope, x: Codes, shape: Sequence[int]) -> ir.Value:
    """Returns the rows [N, H, W, kernel row · kernel column · channel] of Rule 1."""
    node, stem = scope.node, str(scope.node.outputs[0].name)
    pads = list(attribute(node, "pads", (0, 0, 0, 0)))
    strides = attribute(node, "strides", (1, 1))
    dilations = attribute(node, "dilations", (1, 1))
    value = x.value
    if any(pads):
        around = scope.constant("pads", [0, *pads[:2], 0, 0, *pads[2:], 0], np.int64)
        zero = scope.constant("zero", x.zero, np.uint8)
        value = scope.op("Pad", [value, around, zero], ir.DataType.UINT8, f"{stem}_padded")
    for axis in (1, 0):
        size, stride, step = shape[2 + axis], int(strides[axis]), int(dilations[axis])
        if size == 1 and stride == 1:
            continue
        taps = [
            _tap(scope, value, 1 + axis, (k * step, (k - size + 1) * step, stride), stem)
            for k in range(size)
        ]
        value = taps[0]
        if size > 1:
            value = scope.op("Concat", taps, ir.DataType.UINT8, f"{stem}_rows", {"axis": 3})
    return value


def _tap(
    scope: Scope, value: ir.Value, axis: int, reach: tuple[int, int, int], stem: str
) -> ir.Value:
    """Returns what one tap of a kernel sees along ``axis``; its end counts from behind."""
    start, end, stride = reach
    numbers = (start, end or _END, axis, stride)
    inputs = [scope.constant("tap", [number], np.int64) for number in numbers]
    return scope.op("Slice", [value, *inputs], ir.DataType.UINT8, f"{stem}_tap")


def _matmul(scope: Scope) -> None:
    if weight_of(scope.node.inputs[1]) is not None:
        _gemm(scope)
        return
    pair = [scope.read(position) for position in (0, 1)]
    target, stem = scope.target(), str(scope.node.outputs[0].name)
    length = (shape_of(scope.node.inputs[0]) or (None,))[-1]
    if length is None or target is None:
        raise scope.refusal("the number of products that it adds up is not known")
    zeros = [scope.constant("zero", codes.zero, np.uint8) for codes in pair]
    inputs = [*(codes.value for codes in pair), *zeros]
    acc = scope.op("MatMulInteger", inputs, ir.DataType.INT32, f"{stem}_sums")
    term = product_term(pair[0], pair[1], length)
    scope.write(target, rescaled(scope, [acc], [term], scope.written(target), stem))


def _gemm(scope: Scope) -> None:
    x, weight = scope.read(0), _weight(scope)
    first = np.moveaxis(weight, weight_channel_axis(scope.node), 0)
    rows = first.reshape(len(first), -1)
    acc = _product(scope, x.value, x, rows)
    _finish(scope, acc, x, rows, (-1,), last=False)


def _product(scope: Scope, value: ir.Value, x: Codes, rows: npt.NDArray[np.integer]) -> ir.Value:
    """Returns MatMulInteger of codes with the weights [O, K], under Rule 3."""
    stem = str(scope.node.outputs[0].name)
    zero = scope.constant("zero", x.zero, np.uint8)
    matrix = np.ascontiguousarray(rows.T)
    if pair_excess(rows, _PAIR_BOUND // x.limits[1]).any():
        middle = scope.constant("zero", _MIDDLE, np.uint8)
        inputs = [value, _unsigned(scope, matrix, stem), zero, middle]
    else:
        inputs = [value, scope.constant(f"{stem}_weight", matrix, np.int8), zero]
    return scope.op("MatMulInteger", inputs, ir.DataType.INT32, f"{stem}_sums")


def _unsigned(scope: Scope, codes: npt.NDArray[np.integer], stem: str) -> ir.Value:
    return scope.constant(f"{stem}_weight", codes.astype(np.int16) + _MIDDLE, np.uint8)


def _weight(scope: Scope) -> npt.NDArray[np.integer]:
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


def _finish(  # noqa: PLR0913 (the sums, what they are made of, and how they lie)
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
    """Rule 6."""
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


HANDLERS = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}
