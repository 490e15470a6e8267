"""What nodes do, without what a small interpreter would have to work out for itself.

1. Operators that move numbers about are ``y[i] = x[offset + Σ i·x_over]``, i counting through the
   axes of y. Gather, and what no steps describe, adds ``index[Σ i·index_over] · index_step``; an
   index below 0 counts from ``depth``. Split becomes a node per output.
2. Concat and Pad write the numbers of their k-th input to ``y[offsets_k + Σ i·y_over]``, i counting
   through the axes of that input; input 1 of Pad is what lies elsewhere.
3. Sums of products and comparisons are loops (:mod:`onnxq.export.loop_nests`).
4. All inputs of other operators broadcast to the output: scales and zero points along an axis have
   a shape for that. Clip has both bounds, and a Max or Min of several values is a chain of those
   of two.
5. Inputs that only say how (shapes, axes, starts) are gone. What has no such form keeps its ONNX
   inputs and attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.export.flat_node import FlatNode, input_of, plain_attributes, steps
from onnxq.export.loop_nests import LOOP_NESTS
from onnxq.reference.call import Call
from onnxq.reference.integers import is_integer, limits
from onnxq.reference.kernels import KERNELS
from onnxq.reference.quantization import along

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["MOVES", "flat_nodes"]

MOVES = (
    "DepthToSpace", "Expand", "Flatten", "Identity", "Pad", "Reshape", "Resize", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators of rule 1 that read one value alone."""


def flat_nodes(node: ir.Node, arrays: Mapping[ir.Value, Array]) -> list[FlatNode]:
    """Returns what a node is for a small interpreter.

    Args:
        node: A node that the reference can compute.
        arrays: Its inputs and outputs; of those that are not constant, type and shape alone count.
    """
    call = Call(node, [None if value is None else arrays[value] for value in node.inputs])
    make = _FORMS.get(node.op_type) or LOOP_NESTS.get(node.op_type)
    made = None if make is None else make(call, arrays[node.outputs[0]])
    if made is None and node.op_type in MOVES:
        made = _moves(call)
    return made or [FlatNode(node.op_type, node.inputs, node.outputs, plain_attributes(node))]


def _moves(call: Call) -> list[FlatNode]:
    """Rule 1: what a node does to the places of its input, it does to the input."""
    node, x = call.node, call.x()
    places = np.arange(x.size, dtype=np.int32).reshape(x.shape)
    others = [call.optional(position) for position in range(1, len(node.inputs))]
    found = KERNELS[node.op_type](Call(node, [places, *others]))
    outputs = found if isinstance(found, tuple) else (found,)
    return [_moved(call, value, moved) for value, moved in zip(node.outputs, outputs, strict=True)]


def _moved(call: Call, value: ir.Value, places: Array) -> FlatNode:
    inputs: list[ir.Value | Array | None] = [call.node.inputs[0]]
    over, offset = _over(places), int(places.flat[0]) if places.size else 0
    if over is not None:
        return FlatNode(call.node.op_type, inputs, [value], {"offset": offset, "x_over": over})
    inputs.append(np.ascontiguousarray(places))
    attributes = {
        "offset": 0,
        "x_over": [0] * places.ndim,
        "index_over": steps(places.shape),
        "index_step": 1,
        "depth": call.x().size,
    }
    return FlatNode(call.node.op_type, inputs, [value], attributes)


def _over(places: Array) -> list[int] | None:
    """Returns how far places lie apart along each axis; None if that differs within one."""
    if not places.size:
        return [0] * places.ndim
    first = places.reshape(-1)[0].astype(np.int64)
    expected = np.asarray(first)
    over = []
    for axis, size in enumerate(places.shape):
        at = tuple(min(1, size - 1) if i == axis else 0 for i in range(places.ndim))
        over.append(int(places[at] - first))
        expected = expected + along(np.arange(size) * over[-1], places.ndim, axis)
    return over if np.array_equal(expected, places) else None


def _gather(call: Call, y: Array) -> list[FlatNode]:
    """Rule 1."""
    x, index = call.x(0), call.x(1)
    axis, apart = call.axis(x.ndim), steps(x.shape)
    behind = y.ndim - axis - index.ndim
    attributes = {
        "offset": 0,
        "x_over": [*apart[:axis], *[0] * index.ndim, *apart[axis + 1 :]],
        "index_over": [*[0] * axis, *steps(index.shape), *[0] * behind],
        "index_step": apart[axis],
        "depth": x.shape[axis],
    }
    return [FlatNode("Gather", call.node.inputs, call.node.outputs, attributes)]


def _concat(call: Call, y: Array) -> list[FlatNode]:
    """Rule 2."""
    apart, axis = steps(y.shape), call.axis(y.ndim)
    sizes = [part.shape[axis] for part in call.all()]
    offsets = [apart[axis] * sum(sizes[:k]) for k in range(len(sizes))]
    attributes = {"offsets": offsets, "y_over": apart}
    return [FlatNode("Concat", call.node.inputs, call.node.outputs, attributes)]


def _pad(call: Call, y: Array) -> list[FlatNode] | None:
    """Rule 2, or 1 for what is padded with its own numbers."""
    x, pads = call.x(), call.listed("pads", 1) or ()
    if call.text("mode", "constant") != "constant":
        return None
    node = call.node
    if min(pads, default=0) < 0:
        return [FlatNode("Pad", node.inputs, node.outputs, plain_attributes(node))]
    apart, axes = steps(y.shape), call.listed("axes", 3) or tuple(range(x.ndim))
    fronts = [call.front(axis, x.ndim) for axis in axes]
    offset = sum(apart[axis] * pads[k] for k, axis in enumerate(fronts))
    fill = np.zeros((), x.dtype) if call.optional(2) is None else node.inputs[2]
    attributes = {"offsets": [offset], "y_over": apart}
    return [FlatNode("Pad", [node.inputs[0], fill], node.outputs, attributes)]


def _border(call: Call, y: Array) -> list[FlatNode] | None:
    """Rule 4."""
    node = call.node
    if call.number("block_size"):
        return None
    axis = call.axis(y.ndim, 1) if call.x(1).size > 1 else 0
    inputs: list[ir.Value | Array | None] = [node.inputs[0]]
    for position in (1, 2):
        given = call.optional(position)
        laid = None if given is None or given.size == 1 else along(given, y.ndim, axis)
        inputs.append(input_of(node, position) if laid is None else laid)
    return [FlatNode(node.op_type, inputs, node.outputs, {})]


def _clip(call: Call, y: Array) -> list[FlatNode] | None:
    """Rule 4."""
    if not is_integer(y.dtype):
        return None
    bounds: list[ir.Value | Array | None] = []
    for position, limit in zip((1, 2), limits(y.dtype), strict=True):
        given = call.optional(position) is not None
        bounds.append(call.node.inputs[position] if given else np.asarray(limit, y.dtype))
    return [FlatNode("Clip", [call.node.inputs[0], *bounds], call.node.outputs, {})]


def _extreme(call: Call, y: Array) -> list[FlatNode] | None:
    """Rule 4."""
    node = call.node
    made: list[FlatNode] = []
    so_far, shape = node.inputs[0], call.x().shape
    for position, given in enumerate(node.inputs[1:], 1):
        shape = np.broadcast_shapes(shape, call.x(position).shape)
        output = node.outputs[0]
        if position < len(node.inputs) - 1:
            name = f"{output.name}_up_to_{position}"
            kind = ir.TensorType(ir.DataType.from_numpy(y.dtype))
            output = ir.Value(name=name, type=kind, shape=ir.Shape(shape))
        made.append(FlatNode(node.op_type, [so_far, given], [output], {}))
        so_far = output
    return made or None


_FORMS: Mapping[str, Callable[[Call, Array], list[FlatNode] | None]] = {
    "Clip": _clip,
    "Concat": _concat,
    "DequantizeLinear": _border,
    "Gather": _gather,
    "Max": _extreme,
    "Min": _extreme,
    "Pad": _pad,
    "QuantizeLinear": _border,
}
