"""Operators that compute the same whatever the order of the axes, once it is told to them.

:class:`onnxq.graph.ports.Ports` says through which inputs and outputs a node lets an order of axes
pass. Broadcast constants, axis attributes, paddings and the like follow when the node is edited.
Not among these operators is whatever goes by the place of an axis: Conv, MatMul, Reshape, pooling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.axis_order import kept_in_place
from onnxq.graph.edit import replace_weight
from onnxq.graph.ports import Family, Ports, rank_of
from onnxq.graph.query import is_op, shape_of, weight_of
from onnxq.graph.relayout_entries import ENTRY_FAMILIES

if TYPE_CHECKING:
    from onnxq.graph.axis_order import Order

__all__ = ["is_pointwise", "ports_of", "put_in_order"]

_UNARY = (
    "Abs", "Cast", "Ceil", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg",
    "Not", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
    "Sqrt", "Tanh", "ThresholdedRelu",
)  # fmt: skip
_BROADCAST = (
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean",
    "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip
_POINTWISE = (*_UNARY, *_BROADCAST)
_SOFTMAX = ("Hardmax", "LogSoftmax", "Softmax")
_ALONG_AN_AXIS = ("Concat", "Split", *_SOFTMAX)
_REDUCING = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip


def is_pointwise(node: ir.Node) -> bool:
    """Says whether ``node`` works number by number."""
    return is_op(node, *_POINTWISE)


def ports_of(node: ir.Node) -> Ports | None:
    """Returns the ports of ``node``; None if it goes by the places of axes or is not known well."""
    if node.domain or not node.outputs or rank_of(node.outputs[0]) is None:
        return None
    family = _FAMILIES.get(node.op_type)
    return family.ports(node) if family is not None else None


def put_in_order(node: ir.Node, order: Order) -> None:
    """Tells ``node`` that its ports now have their axes in ``order``, seen from the present one.

    Constants, attributes and shapes of outputs change; which values the inputs are does not.

    Args:
        node: It has ports, and they fit ``order``.
        order: A permutation of the ports' rank.
    """
    ports = ports_of(node)
    assert ports is not None
    _FAMILIES[node.op_type].edit(node, order)
    for position in ports.outputs:
        value = node.outputs[position]
        if value.shape is not None:
            value.shape = ir.Shape([value.shape[axis] for axis in order])


# ---- pointwise -----------------------------------------------------------------------------------


def _pointwise_ports(node: ir.Node) -> Ports | None:
    rank = rank_of(node.outputs[0])
    found = []
    for position, value in enumerate(node.inputs):
        shape = shape_of(value)
        if value is None:
            continue
        if shape is None or rank is None or len(shape) > rank:
            return None
        if weight_of(value) is not None or (len(shape) < rank and set(shape) <= {1}):
            continue
        if len(shape) < rank:
            return None
        found.append(position)
    return Ports(tuple(found), (0,)) if found else None


def _order_constants(node: ir.Node, order: Order) -> None:
    for position, value in enumerate(node.inputs):
        weight = weight_of(value)
        if weight is not None and weight.size > 1:
            whole = weight.reshape((1,) * (len(order) - weight.ndim) + weight.shape)
            replace_weight(node, position, whole.transpose(order))


# ---- along an axis -------------------------------------------------------------------------------


def _axis_ports(node: ir.Node) -> Ports | None:
    rank = rank_of(node.outputs[0])
    taken = range(len(node.inputs)) if is_op(node, "Concat") else range(1)
    inputs = [position for position in taken if weight_of(node.inputs[position]) is None]
    if not inputs or any(rank_of(node.inputs[position]) != rank for position in taken):
        return None
    outputs = tuple(range(len(node.outputs)))
    last = rank is not None and _axis(node) == rank - 1
    if is_op(node, *_SOFTMAX) and last:  # much slower along any other
        return Ports((0,), outputs, lambda order: order[-1] == len(order) - 1)
    return Ports(tuple(inputs), outputs)


def _order_axis(node: ir.Node, order: Order) -> None:
    node.attributes.add(ir.AttrInt64("axis", order.index(_axis(node))))
    if is_op(node, "Concat"):
        _order_constants(node, order)


def _arg_ports(node: ir.Node) -> Ports | None:
    rank = rank_of(node.inputs[0])
    if rank is None:
        return None
    keeps = node.attributes.get_int("keepdims", 1)
    axis = node.attributes.get_int("axis", 0) % rank
    return Ports((0,), (0,)) if keeps else Ports((0,), (), lambda o: kept_in_place(o, {axis}))


def _order_arg(node: ir.Node, order: Order) -> None:
    axis = node.attributes.get_int("axis", 0) % len(order)
    node.attributes.add(ir.AttrInt64("axis", order.index(axis)))


# ---- over constant axes --------------------------------------------------------------------------


def _reduce_ports(node: ir.Node) -> Ports | None:
    axes = _constant_axes(node, node.inputs[0])
    if axes is None:
        return None
    if node.attributes.get_int("keepdims", 1):
        return Ports((0,), (0,))
    return Ports((0,), (), lambda order: kept_in_place(order, axes))


def _squeeze_ports(node: ir.Node) -> Ports | None:
    axes = _constant_axes(node, node.inputs[0])
    return None if axes is None else Ports((0,), (), lambda order: kept_in_place(order, axes))


def _unsqueeze_ports(node: ir.Node) -> Ports | None:
    axes = _constant_axes(node, node.outputs[0])
    return None if axes is None else Ports((), (0,), lambda order: kept_in_place(order, axes))


def _order_axes(node: ir.Node, order: Order) -> None:
    whole = node.outputs[0] if is_op(node, "Unsqueeze") else node.inputs[0]
    axes = _constant_axes(node, whole)
    assert axes is not None
    replace_weight(node, 1, np.array(sorted(order.index(axis) for axis in axes), np.int64))


def _constant_axes(node: ir.Node, whole: ir.Value | None) -> set[int] | None:
    """Returns the axes, not negative, of a node that has them as its second input."""
    axes, rank = (weight_of(node.inputs[1]) if len(node.inputs) > 1 else None), rank_of(whole)
    if axes is None or rank is None or not axes.size:
        return None
    return {int(axis) % rank for axis in axes.reshape(-1)}


# ---- shared --------------------------------------------------------------------------------------


def _axis(node: ir.Node) -> int:
    rank = rank_of(node.outputs[0])
    assert rank is not None
    return node.attributes.get_int("axis", -1 if is_op(node, *_SOFTMAX) else 0) % rank


_FAMILIES: dict[str, Family] = {
    **dict.fromkeys(_POINTWISE, Family(_pointwise_ports, _order_constants)),
    **dict.fromkeys(_ALONG_AN_AXIS, Family(_axis_ports, _order_axis)),
    **dict.fromkeys(_REDUCING, Family(_reduce_ports, _order_axes)),
    **dict.fromkeys(("ArgMax", "ArgMin"), Family(_arg_ports, _order_arg)),
    "Squeeze": Family(_squeeze_ports, _order_axes),
    "Unsqueeze": Family(_unsqueeze_ports, _order_axes),
    **ENTRY_FAMILIES,
}
