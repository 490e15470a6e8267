"""How rows travel through nodes: which inputs one slice of an output needs.

A node is row-wise along an axis of its output if the slice at index i needs of some inputs the
slice at i alone, and all of the others. A matrix product is so in the rows of its left operand, a
function of each element everywhere, a normalization in all axes that it does not run over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.query import weight_of
from onnxq.graph.roles import attribute

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

__all__ = ["Carrier", "carriers"]

_UNARY = (
    "Abs", "Cast", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Log", "Mish", "Neg", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Tanh",
)  # fmt: skip
_BROADCAST = ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Where")


class Carrier(NamedTuple):
    """An input that a slice of the output needs one slice of.

    Attributes:
        position: Among the node's inputs.
        axis: Along which the input is to be sliced.
    """

    position: int
    axis: int


def carriers(node: ir.Node, axis: int, *, first: bool = False) -> list[Carrier] | None:
    """Returns which inputs carry the rows of the node's output along ``axis``.

    Args:
        node: With one output.
        axis: Of the output, from 0 on.
        first: Whether the row at index 0 alone is asked for, which is the same of an input that is
            repeated and of one that is not.

    Returns:
        None if the node is not known to be row-wise; every other input is needed whole.
    """
    reader = _READERS.get(node.op_type) if node.domain == "" else None
    if reader is None:
        return None
    found = reader(node, axis)
    if found is None and first and node.op_type in (*_BROADCAST, "MatMul"):
        return _broadcast(node, axis, below=2 if node.op_type == "MatMul" else 0, first=True)
    return found


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def _elementwise(node: ir.Node, axis: int) -> list[Carrier] | None:
    del node
    return [Carrier(0, axis)]


def _broadcast(
    node: ir.Node, axis: int, below: int = 0, *, first: bool = False
) -> list[Carrier] | None:
    """Inputs whose dimension is 1 or missing are the same for every row.

    Args:
        node: Whose inputs are aligned at their last axes.
        axis: Of the output.
        below: How many of the last axes differ in meaning, as those of matrices.
        first: Whether an input of unknown dimension may be repeated.
    """
    out = node.outputs[0].shape
    if out is None or axis >= len(out) - below:
        return None
    found = []
    for position, value in enumerate(node.inputs):
        rank = _rank(value)
        if value is None or value.shape is None or rank is None:
            return None
        own = axis - (len(out) - rank)
        if own < 0 or value.shape[own] == 1:
            continue
        if not first and not _same(value.shape[own], out[axis]):
            return None
        found.append(Carrier(position, own))
    return found or None


def _same(one: int | ir.SymbolicDim, other: int | ir.SymbolicDim) -> bool:
    if isinstance(one, int) or isinstance(other, int):
        return one == other
    return one.value is not None and one.value == other.value


def _layer_norm(node: ir.Node, axis: int) -> list[Carrier] | None:
    rank = _rank(node.inputs[0])
    start = node.attributes.get_int("axis", -1)
    if rank is None or axis >= start % rank or len(node.outputs) > 1:
        return None
    return [Carrier(0, axis)]


def _softmax(node: ir.Node, axis: int) -> list[Carrier] | None:
    rank = _rank(node.inputs[0])
    if rank is None or node.attributes.get_int("axis", -1) % rank == axis:
        return None
    return [Carrier(0, axis)]


def _matmul(node: ir.Node, axis: int) -> list[Carrier] | None:
    left, right = (_rank(value) for value in node.inputs)
    out = _rank(node.outputs[0])
    if left is None or right is None or out is None or min(left, right) < 2:
        return None
    if axis == out - 2:
        return [Carrier(0, left - 2)]
    return _broadcast(node, axis, below=2)


def _gemm(node: ir.Node, axis: int) -> list[Carrier] | None:
    added = node.inputs[2] if len(node.inputs) > 2 else None
    plain = added is None or (added.shape is not None and len(added.shape) < 2)
    if axis != 0 or attribute(node, "transA", 0) or not plain:
        return None
    return [Carrier(0, 0)]


def _transpose(node: ir.Node, axis: int) -> list[Carrier] | None:
    order = node.attributes.get_ints("perm", [])
    return [Carrier(0, order[axis])] if order else None


def _reshape(node: ir.Node, axis: int) -> list[Carrier] | None:
    """Rows stay rows if only what lies behind the axis is regrouped."""
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or y.shape is None or weight_of(node.inputs[1]) is None:
        return None
    old, new = list(x.shape[1:]), list(y.shape[1:])
    if not 0 < axis < min(len(old), len(new)) + 1 or attribute(node, "allowzero", 0):
        return None
    if not all(isinstance(dim, int) for dim in (*old, *new)):
        return None
    behind = _product(old[axis:]) == _product(new[axis:])
    return [Carrier(0, axis)] if old[:axis] == new[:axis] and behind else None


def _product(dims: list[int | ir.SymbolicDim]) -> int:
    product = 1
    for dim in dims:
        product *= int(dim)  # type: ignore[arg-type]
    return product


_READERS: dict[str, Callable[[ir.Node, int], list[Carrier] | None]] = {
    **dict.fromkeys(_UNARY, _elementwise),
    **dict.fromkeys(_BROADCAST, _broadcast),
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Transpose": _transpose,
}
