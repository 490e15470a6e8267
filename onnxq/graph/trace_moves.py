"""What nodes that move numbers make of labels (:mod:`onnxq.graph.trace_book`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.moves import keeps_batch, moved
from onnxq.graph.query import is_op, shape_of, weight_of
from onnxq.graph.trace_book import LabelledParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from onnxq.graph.trace_book import Indices, Labels, Rule, TraceBook

__all__ = ["MOVES"]

_LARGEST = 1 << 22
_UNKNOWN = "its axes are not known"
_MOVED_BY = "how it moves numbers depends on channels"


def _concat(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    """Along the labels, those of all parts in turn; along another axis, what all parts agree on."""
    labels = [book.of(value) for value in node.inputs]
    found = [item for item in labels if item is not None]
    rank = found[0].ndim
    axis = (node.attributes.get_int("axis", 0) or 0) % rank
    if any(item.ndim != rank for item in found):
        return _UNKNOWN
    if any(item.shape[axis] > 1 for item in found):
        return _join(node, book, axis)
    if len({item.shape for item in found}) > 1:
        return "it joins values that hold their channels on different axes"
    parameters = []
    for position, (value, item) in enumerate(zip(node.inputs, labels, strict=True)):
        if item is None and weight_of(value) is None:
            return f"'{value.name if value else ''}' keeps its order"
        if item is None:
            parameters.append(position)
    made = book.follow(*found)
    book.parameters += [LabelledParameter(node, position, made) for position in parameters]
    return [made]


def _join(node: ir.Node, book: TraceBook, axis: int) -> Sequence[Labels] | str:
    parts: list[Indices] = []
    for value in node.inputs:
        labels, shape = book.of(value), shape_of(value)
        size = None if shape is None else shape[axis]
        if value is None or size is None or shape is None:
            return _UNKNOWN
        if labels is None or labels.size == 1:
            column = [size if at == axis else 1 for at in range(len(shape))]
            labels = book.cells.fresh(tuple(column))
            book.cells.pin(labels, f"'{value.name}' keeps its order")
        if labels.size != size or labels.shape[axis] != size:
            return "it joins values that hold their channels on different axes"
        parts.append(labels)
    return [np.concatenate(parts, axis)]


def _split(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    labels = book.of(node.inputs[0])
    if labels is None:
        return _MOVED_BY
    axis = (node.attributes.get_int("axis", 0) or 0) % labels.ndim
    if labels.shape[axis] == 1:
        return [book.follow(labels) for _ in node.outputs]
    sizes = [(shape_of(value) or (None,) * labels.ndim)[axis] for value in node.outputs]
    known = [size for size in sizes if size is not None]
    if len(known) != len(sizes) or sum(known) != labels.shape[axis]:
        return _UNKNOWN
    return np.split(labels, np.cumsum(known)[:-1], axis)


def _slice(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    labels = book.of(node.inputs[0])
    if labels is None:
        return _MOVED_BY
    given = [weight_of(value) for value in node.inputs[1:] if value is not None]
    if len(given) != len(node.inputs) - 1 or any(item is None for item in given):
        return "its bounds are not constant"
    starts, ends, *more = [item.tolist() for item in given if item is not None]
    axes = [axis % labels.ndim for axis in (more[0] if more else range(len(starts)))]
    steps = more[1] if len(more) > 1 else [1] * len(starts)
    chosen = [slice(None)] * labels.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if labels.shape[axis] > 1:
            chosen[axis] = slice(start, end, step)
    taken = labels[tuple(chosen)]
    other = any(labels.shape[axis] == 1 for axis in axes)
    return [book.follow(taken) if other else taken]


def _gather(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    labels = book.of(node.inputs[0])
    if labels is None:
        return "its indices depend on channels"
    axis = (node.attributes.get_int("axis", 0) or 0) % labels.ndim
    indices, shape = weight_of(node.inputs[1]), shape_of(node.inputs[1])
    if labels.shape[axis] > 1:
        return "its indices are not constant" if indices is None else [labels.take(indices, axis)]
    if shape is None:
        return "the shape of its indices is not known"
    sizes = (*labels.shape[:axis], *[1] * len(shape), *labels.shape[axis + 1 :])
    return [book.follow(labels.reshape(sizes))]


def _transpose(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    labels = book.of(node.inputs[0])
    if labels is None:
        return _MOVED_BY
    return [labels.transpose(node.attributes.get_ints("perm", ()) or None)]


def _resize_rank(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    """Squeeze and Unsqueeze."""
    labels = book.of(node.inputs[0])
    axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if labels is None:
        return _MOVED_BY
    if axes is None:
        return _UNKNOWN
    if is_op(node, "Unsqueeze"):
        rank = labels.ndim + axes.size
        return [np.expand_dims(labels, tuple(int(axis) % rank for axis in axes.reshape(-1)))]
    dropped = {int(axis) % labels.ndim for axis in axes.reshape(-1)}
    return [labels.reshape([s for axis, s in enumerate(labels.shape) if axis not in dropped])]


def _reshape(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    """Follows every number; places that hold the same part of different atoms may be exchanged."""
    labels, shape = book.of(node.inputs[0]), shape_of(node.inputs[0])
    if labels is None:
        return _MOVED_BY
    if shape is None or None in shape[1:] or labels.shape[0] != 1:
        return "the shape of what it reads is not known"
    sizes = [size or 2 for size in shape]
    if math.prod(sizes) > _LARGEST:
        return "what it reads is too large to be followed"
    inner = [1 if one > 1 else full for one, full in zip(labels.shape, sizes, strict=True)]
    part = np.arange(math.prod(inner)).reshape(inner)
    whole = [np.broadcast_to(array, sizes) for array in (labels, part)]
    if is_op(node, "Flatten"):
        flat = node.attributes.get_int("axis", 1) == 1
        results = [array.reshape(sizes[0], -1) if flat else None for array in whole]
    else:
        results = [moved(node, [array]) for array in whole]
        known = results[0]
        if shape[0] is None and (known is None or not keeps_batch(node, known)):
            return "it may mix samples"
    atoms, parts = results
    if atoms is None or parts is None:
        return "what it does is not known"
    return [_regroup(atoms, parts, book)]


def _regroup(atoms: Indices, parts: Indices, book: TraceBook) -> Indices:
    """Returns labels for a value of which each number is a part of an atom."""
    free = [bool((atoms == atoms.take([0], axis)).all()) for axis in range(atoms.ndim)]
    bound = [axis for axis, same in enumerate(free) if not same]
    order = [*bound, *(axis for axis, same in enumerate(free) if same)]
    sizes = [size if not same else 1 for size, same in zip(atoms.shape, free, strict=True)]
    labels = atoms[tuple(slice(0, size) for size in sizes)]
    rows = parts.transpose(order).reshape(labels.size, -1)
    if np.unique(labels).size == labels.size and (rows == rows[0]).all():
        return labels
    _, kinds = np.unique(rows, axis=0, return_inverse=True)
    made = book.follow(labels)
    book.cells.mark(made, kinds.reshape(made.shape))
    return made


def _expand(node: ir.Node, book: TraceBook) -> Sequence[Labels] | str:
    """A constant that is repeated begins channels of its own, along its last axis."""
    labels, weight, shape = (
        book.of(node.inputs[0]),
        weight_of(node.inputs[0]),
        shape_of(node.outputs[0]),
    )
    if shape is None:
        return "the rank of its output is not known"
    if labels is not None:
        return [book.follow(labels.reshape([1] * (len(shape) - labels.ndim) + [*labels.shape]))]
    if weight is None or weight.ndim > len(shape):
        return [None]
    wide = [axis for axis, size in enumerate(weight.shape, -weight.ndim) if size > 1]
    if not wide:
        return [None]
    column = [1] * len(shape)
    column[wide[-1]] = weight.shape[wide[-1]]
    made = book.cells.fresh(tuple(column))
    book.parameters.append(LabelledParameter(node, 0, made))
    return [made]


MOVES: dict[str, Rule] = {
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _resize_rank,
    "Transpose": _transpose,
    "Unsqueeze": _resize_rank,
}
