"""Pools: the greatest of some codes, or their rescaled sum.

1. MaxPool is Max over shifted slices, one axis after the other. What is padded gets the least code.
2. AveragePool, GlobalAveragePool and ReduceMean are sums in int32 of codes, multiplied by
   1 / (number · scale). What is padded gets the zero point; where it does not count, every place
   has its own factor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import shape_of, weight_of
from onnxq.graph.roles import attribute
from onnxq.numerics.fixed_point import Term
from onnxq.passes.lower.integer.rescale import rescaled
from onnxq.passes.lower.integer.scope import PLANAR, Scope

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.passes.lower.integer.emitter import Codes

__all__ = ["HANDLERS"]

_INT32 = ir.DataType.INT32
_END = np.iinfo(np.int64).max


class _Window(NamedTuple):
    """One axis of a pool."""

    size: int
    stride: int
    dilation: int
    before: int
    behind: int


def _windows(scope: Scope) -> list[_Window]:
    node = scope.node
    source, result = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise scope.refusal("its padding is not written out")
    sizes = [int(size) for size in attribute(node, "kernel_shape", ())]
    rank = len(sizes)
    pads = [int(p) for p in attribute(node, "pads", [0] * (2 * rank))]
    strides = [int(s) for s in attribute(node, "strides", [1] * rank)]
    dilations = [int(d) for d in attribute(node, "dilations", [1] * rank)]
    found = []
    for axis in range(rank):
        window = _Window(sizes[axis], strides[axis], dilations[axis], pads[axis], pads[axis + rank])
        if attribute(node, "ceil_mode", 0):
            given = None if source is None else source[axis + 2]
            made = None if result is None else result[axis + 2]
            if given is None or made is None:
                raise scope.refusal("ceil_mode needs known sizes")
            reach = (made - 1) * window.stride + (window.size - 1) * window.dilation + 1
            window = window._replace(behind=max(0, reach - given - window.before))
        found.append(window)
    return found


def _padded(scope: Scope, codes: Codes, windows: list[_Window], fill: int) -> ir.Value:
    stem = str(scope.node.outputs[0].name)
    if not any(w.before or w.behind for w in windows):
        return codes.value
    before, behind = [w.before for w in windows], [w.behind for w in windows]
    around = [0, *before, 0, 0, *behind, 0] if codes.last else [0, 0, *before, 0, 0, *behind]
    inputs = [
        codes.value,
        scope.constant("pads", around, np.int64),
        scope.constant("fill", fill, np.uint8),
    ]
    return scope.op("Pad", inputs, ir.DataType.UINT8, f"{stem}_padded")


def _slices(scope: Scope, value: ir.Value, axis: int, window: _Window) -> list[ir.Value]:
    stem = str(scope.node.outputs[0].name)
    assert value.dtype is not None
    found = []
    for tap in range(window.size):
        end = (tap - window.size + 1) * window.dilation or _END
        numbers = (tap * window.dilation, end, axis, window.stride)
        inputs = [scope.constant("tap", [number], np.int64) for number in numbers]
        found.append(scope.op("Slice", [value, *inputs], value.dtype, f"{stem}_tap"))
    return found


def _read(scope: Scope) -> Codes:
    planar = len(shape_of(scope.node.inputs[0]) or ()) == PLANAR
    return scope.read(0, last=planar and scope.prefers_last(scope.node.inputs[0]))


def _max_pool(scope: Scope) -> None:
    codes, windows = _read(scope), _windows(scope)
    out = scope.node.outputs[0]
    value = _padded(scope, codes, windows, codes.limits[0])
    first = 1 if codes.last else 2
    for number, window in enumerate(windows):
        taps = _slices(scope, value, first + number, window)
        value = taps[0]
        if len(taps) > 1:
            end = "quantized" if number == len(windows) - 1 else "greatest"
            value = scope.op("Max", taps, ir.DataType.UINT8, f"{out.name}_{end}")
    scope.write(out, value, last=codes.last)


def _average_pool(scope: Scope) -> None:
    codes, windows = _read(scope), _windows(scope)
    out = scope.node.outputs[0]
    stem = str(out.name)
    padded = _padded(scope, codes, windows, codes.zero)
    value = scope.cast(padded, _INT32, f"{stem}_wide")
    first = 1 if codes.last else 2
    for number, window in enumerate(windows):
        total, *rest = _slices(scope, value, first + number, window)
        for tap in rest:
            total = scope.op("Add", [total, tap], _INT32, f"{stem}_sum")
        value = total
    count = math.prod(window.size for window in windows)
    shares = _shares(scope, windows, last=codes.last)
    _average(scope, value, codes, count, shares)


def _shares(scope: Scope, windows: list[_Window], *, last: bool) -> npt.NDArray[np.float64]:
    """Returns 1 / (number of elements that count), [] or one for every place (Rule 2)."""
    node = scope.node
    included = bool(attribute(node, "count_include_pad", 0)) and not attribute(node, "ceil_mode", 0)
    if included or not any(w.before or w.behind for w in windows):
        return np.asarray(1.0 / math.prod(window.size for window in windows))
    source = shape_of(node.inputs[0])
    if source is None or None in source[2:]:
        raise scope.refusal("what is padded does not count, and its size is not known")
    counts: npt.NDArray[np.float64] = np.ones(())
    pads = [int(p) for p in attribute(node, "pads", [0] * (2 * len(windows)))]
    given = bool(attribute(node, "count_include_pad", 0))
    for number, window in enumerate(windows):
        size = source[2 + number] or 0
        real = np.zeros(window.before + size + window.behind)
        real[window.before : window.before + size] = 1
        if given:
            real[: window.before + size + pads[number + len(windows)]] = 1
        reach = (window.size - 1) * window.dilation
        places = range(0, len(real) - reach, window.stride)
        along = np.array([real[p : p + reach + 1 : window.dilation].sum() for p in places])
        counts = counts[..., None] * along
    shares = 1.0 / counts
    return shares[..., None] if last else shares


def _average(
    scope: Scope,
    total: ir.Value,
    codes: Codes,
    count: int,
    shares: npt.NDArray[np.float64],
) -> None:
    """Writes Σ x / number: the sum of ``count`` codes each, of which zero points are taken off."""
    out = scope.node.outputs[0]
    low, high = (np.asarray(limit * count, np.int64) for limit in codes.limits)
    factor = codes.scale * shares
    offset = -factor * codes.zero * count
    found = rescaled(
        scope, [total], [Term(factor, low, high)], scope.written(out), str(out.name), offset
    )
    scope.write(out, found, last=codes.last)


def _global_average_pool(scope: Scope) -> None:
    codes = _read(scope)
    shape = shape_of(scope.node.inputs[0])
    if shape is None or None in shape[2:]:
        raise scope.refusal("the number of elements that it averages is not known")
    count = math.prod(size or 0 for size in shape[2:])
    stem = str(scope.node.outputs[0].name)
    wide = scope.cast(codes.value, _INT32, f"{stem}_wide")
    axes = [1, 2] if codes.last else list(range(2, len(shape)))
    inputs = [wide, scope.constant("axes", axes, np.int64)]
    total = scope.op("ReduceSum", inputs, _INT32, f"{stem}_total", {"keepdims": 1})
    _average(scope, total, codes, count, np.asarray(1.0 / count))


def _reduce_mean(scope: Scope) -> None:
    node = scope.node
    shape = shape_of(node.inputs[0])
    axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if shape is None or (axes is None and len(node.inputs) > 1):
        raise scope.refusal("the number of elements that it averages is not known")
    along = range(len(shape)) if axes is None else [int(axis) for axis in axes]
    sizes = [shape[axis] for axis in along]
    if None in sizes:
        raise scope.refusal("the number of elements that it averages is not known")
    codes, count = scope.read(0), math.prod(size or 0 for size in sizes)
    stem = str(node.outputs[0].name)
    wide = scope.cast(codes.value, _INT32, f"{stem}_wide")
    inputs = [wide, scope.constant("axes", list(along), np.int64)]
    keep = {"keepdims": int(attribute(node, "keepdims", 1))}
    total = scope.op("ReduceSum", inputs, _INT32, f"{stem}_total", keep)
    _average(scope, total, codes, count, np.asarray(1.0 / count))


HANDLERS = {
    "ReduceMean": _reduce_mean,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
}
