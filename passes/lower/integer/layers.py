"""Conv, Gemm and MatMul: products of codes with integer weights, summed in int32.

1. A convolution of [N, H, W, C] is a matrix product: rows of kernel taps, gathered by Slice and
   Concat, times a matrix [kernel row · kernel column · input channel, output channel]. On x86 with
   VNNI that is two to five times as fast as ConvInteger, whose kernel for signed weights is slow.
2. Convolutions with groups, with few input channels, or of other rank are ConvInteger of
   [N, C, …] with unsigned weights of zero point 128.
3. A transposed convolution is one of the flipped weight over the input with stride - 1 zeros behind
   every row and column.
4. MatMulInteger with signed weights adds pairs of products in 16 bits on some machines. Where a
   pair could saturate there, weights are unsigned.
5. Accumulators are bounded by the codes' range and the weights; the bounds decide how they are
   rescaled (``onnxq.numerics.fixed_point``). The bias is rounded to a whole number of their units,
   as where it is stored in int32, and joins the addend.
6. Products of two values are unsigned by unsigned, with one scale each.
7. What nothing on integers reads leaves as the accumulators themselves, with the bias in int32,
   through a DequantizeLinear of scale x_scale · w_scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import shape_of, weight_of
from onnxq.graph.roles import attribute, weight_channel_axis
from onnxq.passes.lower.integer.products import (
    MIDDLE,
    finish,
    product,
    unsigned,
    weight_of_node,
)
from onnxq.passes.lower.integer.rescale import product_term, rescaled
from onnxq.passes.lower.integer.scope import PLANAR, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnxq.passes.lower.integer.emitter import Codes

__all__ = ["HANDLERS"]

_FEW_CHANNELS = 8
_END = np.iinfo(np.int64).max


def _conv(scope: Scope) -> None:
    node = scope.node
    weight = weight_of_node(scope)
    if weight.ndim == PLANAR and _asproduct(node, weight):
        x = scope.read(0, last=True)
        rows = np.moveaxis(weight, 1, -1).reshape(len(weight), -1)
        gathered = _gathered(scope, x.value, x.zero, weight.shape, _steps(node))
        acc = product(scope, gathered, x, rows)
        finish(scope, acc, x, rows, (-1,), last=True)
        return
    x = scope.read(0)
    stem = str(node.outputs[0].name)
    zeros = [scope.constant("zero", z, np.uint8) for z in (x.zero, MIDDLE)]
    codes = unsigned(scope, weight, stem)
    attributes = {name: found.value for name, found in node.attributes.items()}
    inputs = [x.value, codes, *zeros]
    acc = scope.op("ConvInteger", inputs, ir.DataType.INT32, f"{stem}_sums", attributes)
    rows = weight.reshape(len(weight), -1)
    finish(scope, acc, x, rows, (-1, *[1] * (weight.ndim - 2)), last=False)


def _asproduct(node: ir.Node, weight: npt.NDArray[np.integer]) -> bool:
    """Rules 1 and 2."""
    if attribute(node, "group", 1) != 1 or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return False
    return weight.shape[1] >= _FEW_CHANNELS or weight.shape[2:] == (1, 1)


def _gathered(
    scope: Scope, value: ir.Value, zero: int, shape: Sequence[int], steps: _Steps
) -> ir.Value:
    """Returns the rows [N, H, W, kernel row · kernel column · channel] of Rule 1."""
    stem = str(scope.node.outputs[0].name)
    pads = steps.pads
    if any(pads):
        around = scope.constant("pads", [0, *pads[:2], 0, 0, *pads[2:], 0], np.int64)
        fill = scope.constant("zero", zero, np.uint8)
        value = scope.op("Pad", [value, around, fill], ir.DataType.UINT8, f"{stem}_padded")
    for axis in (1, 0):
        size, stride, step = shape[2 + axis], steps.strides[axis], steps.dilations[axis]
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


class _Steps(NamedTuple):
    """How a kernel of two axes goes over its input."""

    pads: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]


def _steps(node: ir.Node) -> _Steps:
    def numbers(name: str, default: Sequence[int]) -> tuple[int, ...]:
        return tuple(int(number) for number in attribute(node, name, default))

    return _Steps(
        numbers("pads", (0, 0, 0, 0)), numbers("strides", (1, 1)), numbers("dilations", (1, 1))
    )


def _conv_transpose(scope: Scope) -> None:
    """Rule 3."""
    node = scope.node
    weight, size = weight_of_node(scope), (shape_of(node.inputs[0]) or ())[2:]
    if weight.ndim != PLANAR or None in size or len(size) != PLANAR - 2:
        raise scope.refusal("its size is not known, or has not two axes")
    if attribute(node, "output_shape", None) is not None:
        raise scope.refusal("it asks for an output_shape; give pads instead")
    x, steps = scope.read(0, last=True), _steps(node)
    more = attribute(node, "output_padding", (0, 0))
    before, behind = [], []
    for axis in (0, 1):
        reach = (weight.shape[2 + axis] - 1) * steps.dilations[axis]
        before.append(reach - steps.pads[axis])
        behind.append(reach - steps.pads[2 + axis] + int(more[axis]) - (steps.strides[axis] - 1))
    stuffed = _stuffed(scope, x, [length or 0 for length in size], len(weight))
    flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    rows = np.ascontiguousarray(np.moveaxis(flipped, 1, -1).reshape(len(flipped), -1))
    around = _Steps((*before, *behind), (1, 1), steps.dilations)
    cropped, around = _cropped(scope, stuffed, around)
    gathered = _gathered(scope, cropped, x.zero, flipped.shape, around)
    finish(scope, product(scope, gathered, x, rows), x, rows, (-1,), last=True)


def _stuffed(scope: Scope, x: Codes, size: Sequence[int], channels: int) -> ir.Value:
    """Puts stride - 1 zeros behind every row and column."""
    strides = _steps(scope.node).strides
    if max(strides) == 1:
        return x.value
    stem, uint8 = str(scope.node.outputs[0].name), ir.DataType.UINT8
    apart = scope.constant("apart", [0, size[0], 1, size[1], 1, channels], np.int64)
    value = scope.op("Reshape", [x.value, apart], uint8, f"{stem}_apart")
    pads = scope.constant("pads", [0] * 8 + [strides[0] - 1, 0, strides[1] - 1, 0], np.int64)
    zero = scope.constant("zero", x.zero, np.uint8)
    value = scope.op("Pad", [value, pads, zero], uint8, f"{stem}_stuffed")
    whole = [0, size[0] * strides[0], size[1] * strides[1], channels]
    shape = scope.constant("whole", whole, np.int64)
    return scope.op("Reshape", [value, shape], uint8, f"{stem}_whole")


def _cropped(scope: Scope, value: ir.Value, steps: _Steps) -> tuple[ir.Value, _Steps]:
    """Takes away what negative pads take away, and returns the pads that are left."""
    stem = str(scope.node.outputs[0].name)
    for axis in (0, 1):
        start, end = max(0, -steps.pads[axis]), min(0, steps.pads[2 + axis])
        if start or end:
            numbers = (start, end or _END, 1 + axis)
            inputs = [scope.constant("tap", [number], np.int64) for number in numbers]
            value = scope.op("Slice", [value, *inputs], ir.DataType.UINT8, f"{stem}_cropped")
    return value, steps._replace(pads=tuple(max(0, pad) for pad in steps.pads))


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
    x, weight = scope.read(0), weight_of_node(scope)
    first = np.moveaxis(weight, weight_channel_axis(scope.node), 0)
    rows = first.reshape(len(first), -1)
    acc = product(scope, x.value, x, rows)
    finish(scope, acc, x, rows, (-1,), last=False)


HANDLERS = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
