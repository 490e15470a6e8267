"""What nodes that compute make of labels (:mod:`onnxq.graph.trace_book`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.channel_classes import is_spatial
from onnxq.graph.pointwise import is_pointwise
from onnxq.graph.query import is_op, shape_of, weight_of
from onnxq.graph.trace_book import LabelledLayer, LabelledParameter, along, ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from onnxq.graph.trace_book import Indices, Labels, Rule, TraceBook

__all__ = ["rule_of", "weight_axes"]

_POINTWISE = (
    *("Identity", "Dropout", "Cast", "Where", "Sign", "Not"),
    *("PRelu", "Elu", "Selu", "Celu", "Softsign", "ThresholdedRelu", "Swish", "Shrink"),
)
_NORMALIZATIONS = ("LayerNormalization", "RMSNormalization", "Softmax", "LogSoftmax")
_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")


def rule_of(node: ir.Node) -> Rule | None:
    """Returns what reads ``node``; None if it knows channels by their place."""
    if is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
        weight = weight_of(node.inputs[1])
        return _product if weight is None and node.op_type == "MatMul" else _layer
    if is_op(node, *_POINTWISE) or is_pointwise(node):
        return _pointwise
    if is_spatial(node) or is_op(node, "BatchNormalization", "InstanceNormalization"):
        return _spatial
    if is_op(node, *_NORMALIZATIONS):
        return _normalize
    if is_op(node, *_REDUCTIONS):
        return _reduce
    return _count if is_op(node, "Shape", "Size") else None


def _count(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    """Sizes do not depend on the order."""
    del node, book
    return [None]


def _layer(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    weight, x = weight_of(node.inputs[1]), shape_of(node.inputs[0])
    fault = _layer_fault(node)
    if fault is not None or weight is None or x is None:
        return fault or "the rank of what it reads is not known"
    channels = node.op_type in ("Conv", "ConvTranspose")
    axis = 1 if channels else -1
    group = node.attributes.get_int("group", 1) or 1 if channels else 1
    in_axis, out_axis = weight_axes(node)
    labels = book.of(node.inputs[0])
    reads = along(labels, axis)
    size = weight.shape[in_axis] * (group if node.op_type == "Conv" else 1)
    if labels is not None and (reads is None or reads.size != size):
        return "its sum does not run over channels alone"
    writes = book.cells.fresh((weight.shape[out_axis],))
    book.layers.append(LabelledLayer(node, reads, writes, group))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        book.parameters.append(LabelledParameter(node, 2, writes))
    if group > 1:
        _tie_groups(node, book, reads, writes)
    column = [1] * len(x)
    column[axis] = writes.size
    return [writes.reshape(column)]


def weight_axes(node: ir.Node) -> tuple[int, int]:
    """Returns the axes of a layer's weight that run along input and output channels."""
    if node.op_type == "Gemm":
        transposed = node.attributes.get_int("transB", 0) == 1
        return (1, 0) if transposed else (0, 1)
    return (1, 0) if node.op_type == "Conv" else (0, 1)


def _layer_fault(node: ir.Node) -> str | None:
    value, weight = node.inputs[1], weight_of(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None or weight is None or (bias is not None and weight_of(bias) is None):
        return "its weight or bias is not constant"
    if len(value.uses()) > 1:
        return f"its weight '{value.name}' is read by others too"
    if node.op_type == "MatMul" and (weight.ndim != 2 or len(shape_of(node.inputs[0]) or ()) < 2):
        return "its weight is not a matrix"
    if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) == 1:
        return "it transposes its input"
    group = node.attributes.get_int("group", 1) or 1
    if node.op_type == "ConvTranspose" and group > 1:
        return "it is a grouped ConvTranspose"
    return None


def _tie_groups(node: ir.Node, book: TraceBook, reads: Labels, writes: Indices) -> None:
    """A depthwise convolution goes channel by channel; another one keeps channels in groups."""
    weight = weight_of(node.inputs[1])
    assert weight is not None
    group = book.layers[-1].group
    if weight.shape[1] > 1:
        for atoms in (reads, writes):
            if atoms is not None:
                book.cells.mark(atoms, np.arange(atoms.size) // (atoms.size // group))
    elif reads is None:
        book.cells.pin(writes, f"'{node.inputs[0].name}' keeps its order")  # type: ignore[union-attr]
    else:
        each = writes.size // group
        book.cells.link(np.repeat(reads, each), writes)
        book.cells.mark(writes, np.arange(writes.size) % each)


def _pointwise(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    shape = shape_of(node.outputs[0])
    if shape is None:
        return "the rank of its output is not known"
    if any(value.uses() for value in node.outputs[1:]):
        return "it has two outputs"
    rank = len(shape)
    labelled: list[Indices] = []
    sizes: list[tuple[tuple[int, ...], tuple[int | None, ...]]] = []
    constants = []
    for position, value in enumerate(node.inputs):
        weight = weight_of(value)
        if weight is not None and weight.size > 1:
            constants.append(position)
        if value is None or weight is not None:
            continue
        labels, full = ranked(value, book.of(value), rank)
        sizes.append((labels.shape, full))
        if book.of(value) is not None:
            labelled.append(labels)
    joined = np.broadcast_shapes(*(labels.shape for labels in labelled))
    for own, full in sizes:
        if any(a > 1 and b == 1 and c != 1 for a, b, c in zip(joined, own, full, strict=True)):
            return "it reads a value that keeps its order"
    made = book.follow(*labelled)
    book.parameters += [LabelledParameter(node, position, made) for position in constants]
    return [made, *[None] * (len(node.outputs) - 1)]


def _product(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    """Sums over the last axis of the first and the one before the last of the second operand."""
    ranks = {len(shape_of(value) or ()) for value in node.inputs}
    rank = ranks.pop()
    if ranks or rank < 2:
        return "its operands differ in rank"
    (left, left_full), (right, right_full) = (ranked(v, book.of(v), rank) for v in node.inputs)
    sums = left.shape[-1] > 1, right.shape[-2] > 1
    if any(sums):
        if not all(sums) or left.shape[-2] > 1 or right.shape[-1] > 1:
            return "it sums over channels and a value that keeps its order"
        first, second = left[..., 0, :], right[..., 0]
        book.cells.link(first, second)
        batch = np.broadcast_shapes(first.shape[:-1], second.shape[:-1])
        place = np.arange(int(np.prod(batch))).reshape(*batch, 1)
        book.cells.mark(first, place)
        book.cells.mark(second, place)
        return [None]
    parts = []
    for labels, other, full in ((left, right, right_full), (right, left, left_full)):
        if labels.size == 1:
            continue
        axes = range(rank - 2)
        held = [a for a in axes if labels.shape[a] > 1 and other.shape[a] == 1 and full[a] != 1]
        book.keep_apart(labels, held)
        parts.append(labels)
    return [book.follow(*parts)] if parts else [None]


def _spatial(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    labels = book.of(node.inputs[0])
    if labels is None or along(labels, 1) is None:
        return "its channels lie on another axis"
    made = book.follow(labels)
    if is_op(node, "BatchNormalization", "InstanceNormalization"):
        if any(weight_of(value) is None for value in node.inputs[1:]):
            return "its parameters are not constant"
        if any(value.uses() for value in node.outputs[1:]):
            return "it trains"
        positions = range(1, len(node.inputs))
        vector = made.reshape(-1)
        book.parameters += [LabelledParameter(node, position, vector) for position in positions]
    return [made, *[None] * (len(node.outputs) - 1)]


def _normalize(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    """What comes of a number depends on all numbers along the axes, in any order."""
    labels = book.of(node.inputs[0])
    parameters = range(1, len(node.inputs))
    if labels is None or any(weight_of(node.inputs[at]) is None for at in parameters):
        return "its parameters are not constant"
    if any(value.uses() for value in node.outputs[1:]):
        return "its mean is read"
    axis = node.attributes.get_int("axis", -1)
    axis = (-1 if axis is None else axis) % labels.ndim
    alone = is_op(node, "Softmax", "LogSoftmax")
    summed = [axis] if alone else range(axis, labels.ndim)
    if any(labels.shape[at] > 1 for at in summed):
        book.keep_apart(labels, [at for at in range(labels.ndim) if at not in summed])
    made = book.follow(labels)
    book.parameters += [LabelledParameter(node, position, made) for position in parameters]
    return [made, *[None] * (len(node.outputs) - 1)]


def _reduce(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    labels = book.of(node.inputs[0])
    axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if labels is None or axes is None or not axes.size:
        return "its axes are not known"
    summed = {int(axis) % labels.ndim for axis in axes}
    kept = [axis for axis in range(labels.ndim) if axis not in summed]
    if any(labels.shape[axis] > 1 for axis in summed):
        if any(labels.shape[axis] > 1 for axis in kept):
            return "it sums over a part of what tells channels apart"
        return [None]
    keeps = node.attributes.get_int("keepdims", 1) == 1
    shape = labels.shape if keeps else tuple(labels.shape[axis] for axis in kept)
    return [book.follow(labels.reshape(shape))]
