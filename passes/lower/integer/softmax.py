"""Softmax on integers: exponentials from a table, and one division.

With d = max - x in codes, e(d) = round(exp(-scale · d) · 2^20) from a table of 256 entries,

    y = (e · m + (2 · zero + 1) · Σ e · 2^15) / (Σ e · 2^16),      m = round(2^16 / y_scale)

which is round(softmax / y_scale) + zero: e is exact to 2^-21, since d takes 256 values alone.
I-BERT (Kim et al. 2021, "I-BERT: Integer-only BERT Quantization", section 3.4) approximates exp by
a polynomial instead, for accumulators of 32 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.roles import attribute

if TYPE_CHECKING:
    from onnxq.passes.lower.integer.scope import Scope

__all__ = ["HANDLERS"]

_BITS, _FRACTION = 20, 16
_INT32, _INT64 = ir.DataType.INT32, ir.DataType.INT64


def _softmax(scope: Scope) -> None:
    node = scope.node
    out, axis = node.outputs[0], int(attribute(node, "axis", -1))
    stem, codes, wanted = str(out.name), scope.read(0), scope.written(node.outputs[0])
    wide = scope.cast(codes.value, _INT32, f"{stem}_wide")
    axes = scope.constant("axes", [axis], np.int64)
    keep = {"keepdims": 1}
    top = scope.op("ReduceMax", [wide, axes], _INT32, f"{stem}_top", keep)
    below = scope.op("Sub", [top, wide], _INT32, f"{stem}_below")
    table = np.rint(np.exp(-codes.scale * np.arange(256)) * (1 << _BITS))
    entries = scope.constant(f"{stem}_exponentials", table, np.int64)
    # the difference of two codes; its least is 0, which types alone do not tell
    zero = scope.constant("zero", 0, np.int32)
    places = scope.op("Max", [below, zero], _INT32, f"{stem}_places")
    powers = scope.op("Gather", [entries, places], _INT64, f"{stem}_powers", {"axis": 0})
    total = scope.op("ReduceSum", [powers, axes], _INT64, f"{stem}_total", keep)
    least = scope.constant("least", 1 << _BITS, np.int64)
    total = scope.op("Max", [total, least], _INT64, f"{stem}_positive")
    scope.write(out, _divided(scope, powers, total, wanted.scale, wanted.zero, wanted.limits))


def _divided(  # noqa: PLR0913 (a quotient, and how it is written)
    scope: Scope,
    powers: ir.Value,
    total: ir.Value,
    scale: np.ndarray,
    zero: np.ndarray,
    limits: tuple[int, int],
) -> ir.Value:
    stem = str(scope.node.outputs[0].name)
    factor = scope.constant(f"{stem}_factor", np.rint((1 << _FRACTION) / scale), np.int64)
    numerator = scope.op("Mul", [powers, factor], _INT64, f"{stem}_numerator")
    halves = (2 * int(zero) + 1) << (_FRACTION - 1)
    half = scope.op(
        "Mul", [total, scope.constant("halves", halves, np.int64)], _INT64, f"{stem}_half"
    )
    numerator = scope.op("Add", [numerator, half], _INT64, f"{stem}_rounded")
    unit = scope.constant("unit", 1 << _FRACTION, np.int64)
    divisor = scope.op("Mul", [total, unit], _INT64, f"{stem}_divisor")
    quotient = scope.op("Div", [numerator, divisor], _INT64, f"{stem}_quotient")
    bounds = [scope.constant("bound", limit, np.int64) for limit in limits]
    clipped = scope.op("Clip", [quotient, *bounds], _INT64, f"{stem}_clipped")
    return scope.cast(clipped, ir.DataType.UINT8, f"{stem}_quantized")


HANDLERS = {"Softmax": _softmax}
