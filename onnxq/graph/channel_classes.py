"""Which values must hold their channels in the same order, and what an order costs.

A node that works channel by channel (an activation, pooling, a depthwise convolution, Add) forces
one order upon what it reads and computes: these values form a class. At its ends stand convolutions
over all channels, which take their inputs and give their outputs in any order, if their weight is
permuted once. Any other reader or producer knows channels by their place: it pins the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from onnxq.graph.pointwise import is_pointwise
from onnxq.graph.query import heavy, is_op, read_values, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx_ir as ir

    from onnxq.graph.channel_routing import Routing

__all__ = ["ChannelClass", "ParameterAxis", "channel_classes", "is_spatial"]

_SPATIAL = ("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "LpPool")
_POINTWISE = ("PRelu", "Identity", "Elu", "Selu", "Celu", "ThresholdedRelu", "Swish", "Cast")


class ParameterAxis(NamedTuple):
    """An axis of a weight that runs along the channels of a class."""

    node: ir.Node
    position: int
    axis: int


class ChannelClass:
    """Values that hold their channels in the same order.

    Attributes:
        values: The values, in the graph's order.
        size: The number of channels.
        parameters: What has to be permuted with them.
        pinned: Why the order cannot change; None if it can.
    """

    def __init__(self, value: ir.Value, size: int) -> None:
        self.values = [value]
        self.size = size
        self.parameters: list[ParameterAxis] = []
        self.pinned: str | None = None

    def pin(self, reason: str) -> None:
        """Fixes the order; the first reason stays."""
        self.pinned = self.pinned or reason

    def absorb(self, other: ChannelClass) -> None:
        """Takes over all that ``other`` holds."""
        self.values += other.values
        self.parameters += other.parameters
        self.pinned = self.pinned or other.pinned


def channel_classes(
    graph: ir.Graph, routing: Routing, fixed: Mapping[ir.Value, str]
) -> dict[ir.Value, ChannelClass]:
    """Returns value → its class, for all values [N, C, …] of ``graph`` with static channels.

    Args:
        graph: The main graph.
        routing: Its routing nodes, which bind nothing here.
        fixed: Further values that keep their order, and why.
    """
    reader = _Reader()
    for value in graph.inputs:
        reader.pin([value], f"'{value.name}' is a graph input")
    for node in graph:
        if node not in routing.nodes:
            reader.read(node)
    for value in graph.outputs:
        reader.pin([value], f"'{value.name}' is a graph output")
    for value in routing.real:
        reader.class_of(value)
    for value in routing.routes:
        for channel in dict.fromkeys(c.value for c in routing.routes[value].channels):
            reader.class_of(channel)
    for value, reason in fixed.items():
        reader.pin([value], reason)
    return reader.classes


class _Reader:
    def __init__(self) -> None:
        self.classes: dict[ir.Value, ChannelClass] = {}

    def class_of(self, value: ir.Value | None) -> ChannelClass | None:
        """Returns the class of ``value``, None if it has no static channels."""
        shape = shape_of(value)
        if value is None or shape is None or len(shape) < 3 or shape[1] is None:
            return None
        if value not in self.classes:
            self.classes[value] = ChannelClass(value, shape[1])
        return self.classes[value]

    def pin(self, values: Iterable[ir.Value], reason: str) -> None:
        for value in values:
            found = self.class_of(value)
            if found is not None:
                found.pin(reason)

    def join(self, first: ir.Value | None, second: ir.Value | None) -> ChannelClass | None:
        """Makes one class of two; None if they cannot be one."""
        a, b = self.class_of(first), self.class_of(second)
        if a is None or b is None or a.size != b.size:
            return None
        if a is not b:
            a.absorb(b)
            self.classes.update(dict.fromkeys(b.values, a))
        return a

    def read(self, node: ir.Node) -> None:
        """Enters what ``node`` asks of the order of what it reads and computes."""
        name = node.name or node.outputs[0].name
        reason = f"{node.op_type} '{name}' needs its channels in their order"
        understood = False
        if is_op(node, "Conv", "ConvTranspose"):
            understood = self._read_convolution(node)
        elif is_op(node, *_POINTWISE) or is_pointwise(node):
            understood = self._read_pointwise(node)
        elif is_spatial(node):
            understood = self.join(node.inputs[0], node.outputs[0]) is not None
        elif is_op(node, "BatchNormalization", "InstanceNormalization"):
            understood = self._read_normalization(node)
        if not understood:
            self.pin([*read_values(node), *node.outputs], reason)

    def _read_convolution(self, node: ir.Node) -> bool:
        x, y = self.class_of(node.inputs[0]), self.class_of(node.outputs[0])
        weight = node.inputs[1]
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if x is None or y is None or weight is None or not heavy(node):
            return False
        if len(weight.uses()) > 1 or (bias is not None and weight_of(bias) is None):
            return False
        group = node.attributes.get_int("group", 1) or 1
        out_axis = 0 if is_op(node, "Conv") else 1
        if group == 1:
            x.parameters.append(ParameterAxis(node, 1, 1 - out_axis))
            y.parameters.append(ParameterAxis(node, 1, out_axis))
        elif group == x.size == y.size:
            y = self.join(node.inputs[0], node.outputs[0]) or y
            y.parameters.append(ParameterAxis(node, 1, 0))
        else:
            return False
        if bias is not None:
            y.parameters.append(ParameterAxis(node, 2, 0))
        return True

    def _read_pointwise(self, node: ir.Node) -> bool:
        y = node.outputs[0]
        joined, shape = self.class_of(y), shape_of(y)
        if joined is None or shape is None:
            return False
        constants: list[ParameterAxis] = []
        for position, value in enumerate(node.inputs):
            weight = weight_of(value)
            if value is None or (weight is not None and weight.size == 1):
                continue
            if weight is not None:
                axis = weight.ndim - len(shape) + 1
                if axis >= 0 and weight.shape[axis] != 1:
                    constants.append(ParameterAxis(node, position, axis))
                continue
            other = shape_of(value)
            if other is None or len(other) != len(shape):
                return False
            if other[1] != 1 and self.join(y, value) is None:
                return False
        joined = self.classes[y]
        joined.parameters += constants
        return all(_size_at(item) == joined.size for item in constants)

    def _read_normalization(self, node: ir.Node) -> bool:
        joined = self.join(node.inputs[0], node.outputs[0])
        extra = any(value.uses() for value in node.outputs[1:])
        if joined is None or extra or any(weight_of(item) is None for item in node.inputs[1:]):
            return False
        joined.parameters += [ParameterAxis(node, i, 0) for i in range(1, len(node.inputs))]
        return True


def _size_at(item: ParameterAxis) -> int | None:
    weight = weight_of(item.node.inputs[item.position])
    return None if weight is None else int(weight.shape[item.axis])


def is_spatial(node: ir.Node) -> bool:
    """Says whether ``node`` moves or sums numbers inside each channel alone."""
    if is_op(node, *_SPATIAL):
        return not any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    if is_op(node, "Pad"):
        return _pads_no_channels(node)
    return is_op(node, "Resize") and _resizes_no_channels(node)


def _pads_no_channels(node: ir.Node) -> bool:
    amounts, shape = weight_of(node.inputs[1]), shape_of(node.inputs[0])
    if amounts is None or shape is None:
        return False
    axes = _axes(node.inputs[3] if len(node.inputs) > 3 else None, len(shape))
    if axes is None or 1 not in axes:
        return axes is not None
    begin, end = amounts.reshape(2, -1)
    place = axes.index(1)
    return bool(begin[place] == 0 and end[place] == 0)


def _resizes_no_channels(node: ir.Node) -> bool:
    shape = shape_of(node.inputs[0])
    attributes: Mapping[str, Any] = node.attributes
    if shape is None or "keep_aspect_ratio_policy" in attributes:
        return False
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    axes = list(node.attributes.get_ints("axes", ()) or range(len(shape)))
    axes = [axis % len(shape) for axis in axes]
    if mode == "tf_crop_and_resize" or 1 not in axes:
        return mode != "tf_crop_and_resize"
    scales = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
    sizes = weight_of(node.inputs[3]) if len(node.inputs) > 3 else None
    place = axes.index(1)
    if scales is not None and scales.size:
        return bool(scales[place] == 1.0)
    return sizes is not None and bool(sizes[place] == shape[1])


def _axes(value: ir.Value | None, rank: int) -> list[int] | None:
    if value is None:
        return list(range(rank))
    axes = weight_of(value)
    return None if axes is None else [int(axis) % rank for axis in axes]
