"""Merges a separate Pad into the convolution or pooling behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.graph.edit import remove_node
from onnxq.graph.query import is_graph_output, is_op, only_use, scalar_of, shape_of, weight_of
from onnxq.passbase import RewritePass, node_label

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FoldPadPass"]

_NON_NEGATIVE = (
    "Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "Exp", "Sqrt",
)  # fmt: skip
_KEEPS_SIGN = ("MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Concat")


class _Padding(NamedTuple):
    """Non-negative padding of the spatial axes with one number."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    number: float


class FoldPadPass(RewritePass):
    """Merges Pad into Conv, AveragePool or MaxPool.

    1. The mode is constant; amounts and number are constants; nothing is cropped; only spatial
       axes are padded.
    2. Nobody else reads the padded value and it is no graph output.
    3. The layer behind has explicit pads (``auto_pad`` NOTSET or VALID).
    4. Conv pads with zeros, so the number must be zero.
    5. AveragePool that counts its padding does too. One that does not must have no padding of its
       own; it is then told to count.
    6. MaxPool pads with -∞: the number must be so low, or zero where the input cannot be negative.
       A second output (indices) stays.
    7. Pooling needs every pad smaller than the kernel, dilation 1 and ``ceil_mode`` 0, so that all
       windows still hold a real element and are counted alike.
    """

    name = "fold-pad"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every Pad of the main graph."""
        modified = False
        for node in model.graph:
            if is_op(node, "Pad"):
                modified |= self._try_fold(node)
        return ir.passes.PassResult(model, modified)

    def _try_fold(self, node: ir.Node) -> bool:
        use = only_use(node.outputs[0])
        consumer = use.node if use is not None and use.position == 0 else None
        if consumer is None or not is_op(consumer, "Conv", "AveragePool", "MaxPool"):
            return self.refuse(node, "it is not read by one Conv, AveragePool or MaxPool alone")
        padding = _read(node)
        if isinstance(padding, str):
            return self.refuse(node, padding)
        problem = _why_not(consumer, padding, node.inputs[0])
        if problem is not None:
            return self.refuse(node, problem)
        rank = len(padding.begin)
        old = _ints(consumer, "pads", [0] * 2 * rank)
        begin = [a + b for a, b in zip(old[:rank], padding.begin, strict=True)]
        end = [a + b for a, b in zip(old[rank:], padding.end, strict=True)]
        consumer.attributes.pop("auto_pad", None)
        consumer.attributes.add(ir.AttrInt64s("pads", begin + end))
        if is_op(consumer, "AveragePool"):
            consumer.attributes.add(ir.AttrInt64("count_include_pad", 1))
        self.fired(node, f"merged into {consumer.op_type} '{node_label(consumer)}'")
        consumer.replace_input_with(0, node.inputs[0])
        remove_node(node)
        return True


def _read(node: ir.Node) -> _Padding | str:
    """Rule 1: reads a Pad, or says why it cannot be merged into anything."""
    mode = node.attributes.get_string("mode", "constant")
    if mode != "constant":
        return f"its mode is {mode}"
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    number = 0.0 if fill is None else scalar_of(fill)
    sides = _sides(node)
    if sides is None or number is None:
        return "its amounts, axes or number are not constant, or the rank is not known"
    begin, end = sides
    if min(begin + end) < 0:
        return "it crops"
    if any(begin[:2] + end[:2]):
        return "it pads the batch or the channels"
    return _Padding(tuple(begin[2:]), tuple(end[2:]), number)


def _sides(node: ir.Node) -> tuple[list[int], list[int]] | None:
    """Returns what is padded at the beginning and at the end of every axis, if that is known."""
    amounts = weight_of(node.inputs[1])
    if amounts is None:
        return None
    begin, end = amounts.reshape(2, -1).tolist()
    if len(node.inputs) < 4 or node.inputs[3] is None:
        return begin, end
    axes, shape = weight_of(node.inputs[3]), shape_of(node.inputs[0])
    if axes is None or shape is None:
        return None
    places = [int(axis) % len(shape) for axis in axes.reshape(-1)]
    by_axis = dict(zip(places, zip(begin, end, strict=True), strict=True))
    pairs = [by_axis.get(axis, (0, 0)) for axis in range(len(shape))]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _why_not(consumer: ir.Node, padding: _Padding, x: ir.Value | None) -> str | None:
    """Rules 3 to 7: says why ``consumer`` cannot pad like this itself."""
    if consumer.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return f"{node_label(consumer)} pads automatically"
    if is_op(consumer, "Conv"):
        return "Conv pads with zeros only" if padding.number != 0.0 else None
    return _why_not_pool(consumer, padding) or (
        _why_not_max(consumer, padding, x)
        if is_op(consumer, "MaxPool")
        else _why_not_average(consumer, padding)
    )


def _why_not_pool(consumer: ir.Node, padding: _Padding) -> str | None:
    rank = len(padding.begin)
    kernel = _ints(consumer, "kernel_shape", [])
    old = _ints(consumer, "pads", [0] * 2 * rank)
    total = [a + b for a, b in zip(old, padding.begin + padding.end, strict=True)]
    if any(pad >= size for pad, size in zip(total, [*kernel, *kernel], strict=True)):
        return "a pad would be as large as the kernel"
    if consumer.attributes.get_int("ceil_mode", 0):
        return f"{node_label(consumer)} rounds its output size up"
    if any(step != 1 for step in _ints(consumer, "dilations", [])):
        return f"{node_label(consumer)} is dilated"
    return None


def _why_not_max(consumer: ir.Node, padding: _Padding, x: ir.Value | None) -> str | None:
    if any(value.uses() or is_graph_output(value) for value in consumer.outputs[1:]):
        return f"the indices of {node_label(consumer)} are in use"
    lowest = float(np.finfo(np.float32).min)
    if padding.number <= lowest or (padding.number == 0.0 and _non_negative(x)):
        return None
    return "MaxPool pads with -inf, and the input may lie below the number padded with"


def _why_not_average(consumer: ir.Node, padding: _Padding) -> str | None:
    if padding.number != 0.0:
        return "AveragePool pads with zeros only"
    counts = consumer.attributes.get_int("count_include_pad", 0)
    if not counts and any(_ints(consumer, "pads", [])):
        return f"{node_label(consumer)} does not count the padding that it has"
    return None


def _non_negative(value: ir.Value | None) -> bool:
    """Says whether the operators in front of ``value`` keep it from being negative."""
    producer = None if value is None else value.producer()
    if producer is None:
        return False
    if is_op(producer, "Clip"):
        low = scalar_of(producer.inputs[1]) if len(producer.inputs) > 1 else None
        return low is not None and low >= 0.0
    if is_op(producer, *_KEEPS_SIGN):
        data = producer.inputs if is_op(producer, "Concat") else producer.inputs[:1]
        return all(_non_negative(item) for item in data)
    return is_op(producer, *_NON_NEGATIVE)


def _ints(node: ir.Node, name: str, default: Sequence[int]) -> list[int]:
    return list(node.attributes.get_ints(name, default) or default)
