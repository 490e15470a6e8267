"""Operators that add products or compare, as two nested loops without any other rule.

For every output, i counting through the axes ``over`` (of which y has as many numbers), and t
counting through ``taps``:

    y[i] = Σ_t (x[Σ i·x_over + Σ t·x_taps] − x_zero) · (w[Σ i·w_over + Σ t·w_taps] − w_zero)

with w_zero[Σ i·zero_over]; without weights ReduceSum adds x, and MaxPool, ReduceMax and ReduceMin
compare. Groups are an axis of ``over``, and padding is a Pad in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.export.flat_node import FlatNode, plain_attributes, steps
from onnxq.reference.geometry import window
from onnxq.reference.integers import is_integer, limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from onnxq.graph.window import Window
    from onnxq.reference.call import Call

    Array = npt.NDArray[Any]
    Nest = Callable[[Call, Array], list[FlatNode] | None]

__all__ = ["LOOP_NESTS"]


def _conv(call: Call, y: Array) -> list[FlatNode]:
    x, w = call.x(0), call.x(1)
    inputs = [*call.node.inputs, None, None][:4]
    group, look = call.number("group", 1), window(call, w.shape[2:], x.shape[2:])
    fill = np.zeros((), x.dtype) if inputs[2] is None else inputs[2]
    sizes, before = _padded(call, y, look, fill)
    ahead, weight = steps(sizes), steps(w.shape)
    per_group = len(w) // group
    zeros = call.optional(3)
    many = zeros is not None and zeros.size > 1
    attributes = {
        **plain_attributes(call.node),
        "over": [len(x), group, per_group, *y.shape[2:]],
        "taps": list(w.shape[1:]),
        "x_over": [ahead[0], ahead[1] * w.shape[1], 0, *_times(ahead[2:], look.strides)],
        "x_taps": [ahead[1], *_times(ahead[2:], look.dilations)],
        "w_over": [0, weight[0] * per_group, weight[0], *[0] * len(look.kernel)],
        "w_taps": weight[1:],
        "zero_over": [0, per_group, 1, *[0] * len(look.kernel)] if many else [0] * y.ndim + [0],
    }
    return _behind(before, call, inputs[1:], attributes)


def _matmul(call: Call, y: Array) -> list[FlatNode] | None:
    a, b = call.x(0), call.x(1)
    zeros = [call.optional(2), call.optional(3)]
    if min(a.ndim, b.ndim) < 2 or (zeros[0] is not None and zeros[0].size > 1):
        return None
    if zeros[1] is not None and zeros[1].ndim > 1:
        return None
    many = zeros[1] is not None and zeros[1].size > 1
    attributes = {
        "over": list(y.shape),
        "taps": [a.shape[-1]],
        "x_over": [*_broadcast(a.shape[:-1], steps(a.shape)[:-1], y.ndim - 1), 0],
        "x_taps": [1],
        "w_over": [*_broadcast(b.shape[:-2], steps(b.shape)[:-2], y.ndim - 2), 0, 1],
        "w_taps": [b.shape[-1]],
        "zero_over": [*[0] * (y.ndim - 1), 1 if many else 0],
    }
    inputs = [*call.node.inputs, None, None][:4]
    return [FlatNode("MatMulInteger", inputs, call.node.outputs, attributes)]


def _max_pool(call: Call, y: Array) -> list[FlatNode]:
    x = call.x()
    look = window(call, call.numbers("kernel_shape") or (), x.shape[2:])
    least = limits(x.dtype)[0] if is_integer(x.dtype) else -np.inf
    sizes, before = _padded(call, y, look, np.asarray(least, x.dtype))
    ahead = steps(sizes)
    attributes = {
        **plain_attributes(call.node),
        "over": list(y.shape),
        "taps": list(look.kernel),
        "x_over": [*ahead[:2], *_times(ahead[2:], look.strides)],
        "x_taps": _times(ahead[2:], look.dilations),
    }
    return _behind(before, call, [], attributes)


def _reduced(call: Call, _: Array) -> list[FlatNode]:
    x = call.x()
    axes = {call.front(axis, x.ndim) for axis in call.listed("axes", 1) or ()}
    if not axes and not call.number("noop_with_empty_axes"):
        axes = set(range(x.ndim))
    apart = steps(x.shape)
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    attributes = {
        "over": [x.shape[axis] for axis in kept],
        "taps": [x.shape[axis] for axis in sorted(axes)],
        "x_over": [apart[axis] for axis in kept],
        "x_taps": [apart[axis] for axis in sorted(axes)],
    }
    node = call.node
    return [FlatNode(node.op_type, node.inputs[:1], node.outputs, attributes)]


def _padded(
    call: Call, y: Array, look: Window, fill: ir.Value | Array
) -> tuple[list[int], FlatNode | None]:
    """Returns the shape of the input with its padding, and the node that pads, if any is needed."""
    x, value = call.x(), call.node.inputs[0]
    sizes = list(x.shape)
    for axis, begin in enumerate(look.begin):
        last = (y.shape[2 + axis] - 1) * look.strides[axis]
        reach = last + (look.kernel[axis] - 1) * look.dilations[axis] + 1
        sizes[2 + axis] = max(reach, begin + x.shape[2 + axis])
    if sizes == list(x.shape):
        return sizes, None
    apart = steps(sizes)
    offset = sum(_times(apart[2:], look.begin))
    name = f"{call.node.outputs[0].name}_padded"
    kind = ir.TensorType(ir.DataType.from_numpy(x.dtype))
    padded = ir.Value(name=name, type=kind, shape=ir.Shape(sizes))
    return sizes, FlatNode("Pad", [value, fill], [padded], {"offsets": [offset], "y_over": apart})


def _behind(
    before: FlatNode | None,
    call: Call,
    others: list[ir.Value | None],
    attributes: dict[str, Any],
) -> list[FlatNode]:
    """Returns the node, reading what the one before it has padded."""
    node = call.node
    source = node.inputs[0] if before is None else before.outputs[0]
    made = FlatNode(node.op_type, [source, *others], node.outputs, attributes)
    return [made] if before is None else [before, made]


def _times(numbers: list[int], factors: tuple[int, ...]) -> list[int]:
    return [number * factor for number, factor in zip(numbers, factors, strict=True)]


def _broadcast(shape: tuple[int, ...], apart: list[int], rank: int) -> list[int]:
    """Returns steps along ``rank`` axes that a shape broadcasts to."""
    own = [0 if size == 1 else step for size, step in zip(shape, apart, strict=True)]
    return [0] * (rank - len(own)) + own


LOOP_NESTS: Mapping[str, Nest] = {
    "ConvInteger": _conv,
    "MatMulInteger": _matmul,
    "MaxPool": _max_pool,
    "ReduceMax": _reduced,
    "ReduceMin": _reduced,
    "ReduceSum": _reduced,
}
"""Operator → its flat nodes, from its inputs and its output; None for a form that has none."""
