"""Resize on codes: the nearest, or straight lines between two, in fixed point.

Along an axis, an output at x (in input positions, by the node's rule for coordinates) is

    code[low] · (2^10 - t) + code[low + 1] · t,        t = round((x - low) · 2^10)

with positions beyond the ends moved to these. The zero point passes through, since both shares add
up to 2^10; what all axes together have multiplied is taken out by one shift that rounds half up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import shape_of, weight_of
from onnxq.graph.roles import attribute
from onnxq.passes.lower.integer.scope import PLANAR

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.passes.lower.integer.scope import Scope

__all__ = ["HANDLERS"]

_BITS = 10
_LAST = (0, 3, 1, 2)
_INT32, _UINT8 = ir.DataType.INT32, ir.DataType.UINT8


def _resize(scope: Scope) -> None:
    node = scope.node
    source, out = node.inputs[0], node.outputs[0]
    before, behind = shape_of(source), shape_of(out)
    if before is None or behind is None:
        raise scope.refusal("the size that comes out is not known")
    axes = [axis for axis, (a, b) in enumerate(zip(before, behind, strict=True)) if a != b]
    sizes = [size for axis in axes if (size := behind[axis]) is not None]
    if len(sizes) < len(axes):
        raise scope.refusal("the size that comes out is not known")
    last = len(before) == PLANAR and scope.prefers_last(source)
    codes = scope.read(0, last=last)
    places = [_LAST[axis] if last else axis for axis in axes]
    if not axes:
        scope.write(out, codes.value, last=last)
    elif attribute(node, "mode", "nearest") == "nearest":
        scope.write(out, _nearest(scope, codes.value, places, sizes), last=last)
    else:
        rank, value = len(before), scope.cast(codes.value, _INT32, f"{out.name}_wide")
        for axis, place in zip(axes, places, strict=True):
            value = _between(scope, value, axis, place, rank)
        scope.write(out, _shifted(scope, value, len(axes) * _BITS), last=last)


def _nearest(scope: Scope, value: ir.Value, places: list[int], sizes: list[int]) -> ir.Value:
    """By the sizes that come out, since scales are floats."""
    attributes = {name: found.value for name, found in scope.node.attributes.items()}
    attributes["axes"] = places
    attributes.pop("keep_aspect_ratio_policy", None)
    inputs = [value, None, None, scope.constant("sizes", sizes, np.int64)]
    return scope.op("Resize", inputs, _UINT8, f"{scope.node.outputs[0].name}_quantized", attributes)


def _between(scope: Scope, value: ir.Value, axis: int, place: int, rank: int) -> ir.Value:
    """Interpolates along one axis, which multiplies by 2^10."""
    stem = str(scope.node.outputs[0].name)
    position, length = _positions(scope, axis)
    low = np.clip(np.floor(position).astype(np.int64), 0, length - 1)
    share = np.rint((np.clip(position, 0, length - 1) - low) * (1 << _BITS)).astype(np.int64)
    shape = [-1] + [1] * (rank - 1 - place)
    total: ir.Value | None = None
    for index, weight in ((low, (1 << _BITS) - share), (np.minimum(low + 1, length - 1), share)):
        along = scope.constant(f"{stem}_places", index, np.int64)
        taken = scope.op("Gather", [value, along], _INT32, f"{stem}_taken", {"axis": place})
        factor = scope.constant(f"{stem}_shares", weight.reshape(shape), np.int32)
        part = scope.op("Mul", [taken, factor], _INT32, f"{stem}_part")
        total = part if total is None else scope.op("Add", [total, part], _INT32, f"{stem}_both")
    assert total is not None
    return total


def _positions(scope: Scope, axis: int) -> tuple[npt.NDArray[np.float64], int]:
    """Returns the input position of every output along an axis, and the input's length."""
    node = scope.node
    before, behind = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    length, made = (shape[axis] or 1 for shape in (before or (), behind or ()))
    index = np.arange(made, dtype=np.float64)
    scale = _scale(node, axis) or made / length
    rule = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if rule == "asymmetric":
        return index / scale, length
    if rule == "align_corners":
        return (index * (length - 1) / (made - 1) if made > 1 else index * 0), length
    if rule == "half_pixel" or (rule == "pytorch_half_pixel" and made > 1):
        return (index + 0.5) / scale - 0.5, length
    if rule == "pytorch_half_pixel":
        return index * 0, length
    raise scope.refusal(f"its coordinates are {rule}")


def _scale(node: ir.Node, axis: int) -> float | None:
    """Returns the factor that the node names, which sizes may have rounded."""
    scales = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if scales is None or not scales.size or "axes" in node.attributes:
        return None
    return float(scales[axis])


def _shifted(scope: Scope, value: ir.Value, bits: int) -> ir.Value:
    stem = str(scope.node.outputs[0].name)
    half = scope.constant("half", 1 << (bits - 1), np.int32)
    rounded = scope.op("Add", [value, half], _INT32, f"{stem}_rounded")
    positive = scope.cast(rounded, ir.DataType.UINT32, f"{stem}_positive")
    shift = scope.constant("shift", bits, np.uint32)
    right = {"direction": "RIGHT"}
    shifted = scope.op("BitShift", [positive, shift], ir.DataType.UINT32, f"{stem}_shifted", right)
    # shares add up to 1, so that nothing is larger than a code; the interval knows no such thing
    most = scope.constant("most", 255, np.uint32)
    bounded = scope.op("Min", [shifted, most], ir.DataType.UINT32, f"{stem}_bounded")
    return scope.cast(bounded, _UINT8, f"{stem}_quantized")


HANDLERS = {"Resize": _resize}
