"""LayerNormalization on integers: sums, an integer square root by Newton's iteration, one division.

For n codes x of a row, with d = n · x - Σ x (n times the distance from the mean, free of scale and
zero point) and v = Σ d² / n + ε · n² / scale²,

    y = d · 2^8 · gain / sqrt(v · 2^16)  +  addend,        shifted right by 12
    gain = round(γ / y_scale · 2^12),   addend = round((β / y_scale + zero + 1/2) · 2^12)

The root starts from the power of two above it, found by comparing with the powers of four, so that
four steps r ← (r + v / r) / 2 are exact to the last bit or so (Crandall and Pomerance, "Prime
Numbers", algorithm 9.2.11; I-BERT, Kim et al. 2021, section 3.5, starts from one number for all).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import shape_of, weight_of
from onnxq.graph.roles import attribute

if TYPE_CHECKING:
    from onnxq.passes.lower.integer.scope import Scope

__all__ = ["HANDLERS"]

_INT32, _INT64 = ir.DataType.INT32, ir.DataType.INT64
_ROOT_BITS, _FRACTION, _STEPS = 8, 12, 4
_LONGEST = 8192
_EPSILON = 1e-5


def _layer_norm(scope: Scope) -> None:
    node = scope.node
    out, length = node.outputs[0], (shape_of(node.inputs[0]) or (None,))[-1]
    if length is None or length > _LONGEST:
        raise scope.refusal(f"the length of its rows is not known, or above {_LONGEST}")
    gamma = weight_of(node.inputs[1])
    beta = weight_of(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(())
    if gamma is None or beta is None:
        raise scope.refusal("its scale or bias is no constant")
    stem, codes, wanted = str(out.name), scope.read(0), scope.written(out)
    distance = _distance(scope, scope.cast(codes.value, _INT64, f"{stem}_wide"), length)
    epsilon = float(attribute(node, "epsilon", _EPSILON)) * (length / codes.scale) ** 2
    root = _root(scope, _variance(scope, distance, length, epsilon), length)
    gain = np.rint(gamma.astype(np.float64) / wanted.scale * (1 << _FRACTION)) * (1 << _ROOT_BITS)
    addend = (beta.astype(np.float64) / wanted.scale + wanted.zero + 0.5) * (1 << _FRACTION)
    factor = scope.constant(f"{stem}_gain", gain, np.int64)
    scaled = scope.op("Mul", [distance, factor], _INT64, f"{stem}_scaled")
    normal = scope.op("Div", [scaled, root], _INT64, f"{stem}_normal")
    moved = scope.constant(f"{stem}_addend", np.rint(addend), np.int64)
    total = scope.op("Add", [normal, moved], _INT64, f"{stem}_moved")
    low, high = wanted.limits
    ends = low << _FRACTION, ((high + 1) << _FRACTION) - 1
    bounds = [scope.constant("bound", end, np.int64) for end in ends]
    clipped = scope.op("Clip", [total, *bounds], _INT64, f"{stem}_clipped")
    positive = scope.cast(clipped, ir.DataType.UINT64, f"{stem}_positive")
    bits = scope.constant("shift", _FRACTION, np.uint64)
    right = {"direction": "RIGHT"}
    shifted = scope.op("BitShift", [positive, bits], ir.DataType.UINT64, f"{stem}_shifted", right)
    scope.write(out, scope.cast(shifted, ir.DataType.UINT8, f"{stem}_quantized"))


def _distance(scope: Scope, x: ir.Value, length: int) -> ir.Value:
    """Returns d."""
    stem = str(scope.node.outputs[0].name)
    axes = scope.constant("axes", [-1], np.int64)
    total = scope.op("ReduceSum", [x, axes], _INT64, f"{stem}_total", {"keepdims": 1})
    times = scope.op(
        "Mul", [x, scope.constant("length", length, np.int64)], _INT64, f"{stem}_times"
    )
    return scope.op("Sub", [times, total], _INT64, f"{stem}_distance")


def _variance(scope: Scope, distance: ir.Value, length: int, epsilon: float) -> ir.Value:
    """Returns v · 2^16, 1 at least."""
    stem = str(scope.node.outputs[0].name)
    square = scope.op("Mul", [distance, distance], _INT64, f"{stem}_square")
    axes = scope.constant("axes", [-1], np.int64)
    total = scope.op("ReduceSum", [square, axes], _INT64, f"{stem}_squares", {"keepdims": 1})
    mean = scope.op(
        "Div", [total, scope.constant("length", length, np.int64)], _INT64, f"{stem}_mean"
    )
    unit = 1 << (2 * _ROOT_BITS)
    fine = scope.op("Mul", [mean, scope.constant("unit", unit, np.int64)], _INT64, f"{stem}_fine")
    most = 1 << 40
    extra = scope.constant(f"{stem}_epsilon", np.clip(np.rint(epsilon * unit), 1, most), np.int64)
    return scope.op("Add", [fine, extra], _INT64, f"{stem}_variance")


def _root(scope: Scope, value: ir.Value, length: int) -> ir.Value:
    """Returns the square root, rounded down, off by one at most."""
    stem = str(scope.node.outputs[0].name)
    # Σ d² / n ≤ (255 · n)², and ε adds 2^40 at most
    bits = (((255 * length) ** 2 << (2 * _ROOT_BITS)) + (1 << 40)).bit_length() // 2 + 1
    fours = scope.constant("fours", [4**k for k in range(bits)], np.int64)
    reached = scope.op("GreaterOrEqual", [value, fours], ir.DataType.BOOL, f"{stem}_reached")
    counted = scope.cast(reached, _INT32, f"{stem}_counted")
    axes = scope.constant("axes", [-1], np.int64)
    place = scope.op("ReduceSum", [counted, axes], _INT32, f"{stem}_place", {"keepdims": 1})
    twos = scope.constant("twos", [2**k for k in range(bits + 1)], np.int64)
    root = scope.op("Gather", [twos, place], _INT64, f"{stem}_start", {"axis": 0})
    two, one = (scope.constant("number", number, np.int64) for number in (2, 1))
    for _ in range(_STEPS):
        part = scope.op("Div", [value, root], _INT64, f"{stem}_part")
        both = scope.op("Add", [part, root], _INT64, f"{stem}_both")
        half = scope.op("Div", [both, two], _INT64, f"{stem}_half")
        root = scope.op("Max", [half, one], _INT64, f"{stem}_root")
    return root


HANDLERS = {"LayerNormalization": _layer_norm}
