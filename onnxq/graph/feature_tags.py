"""How nodes that move, cut, join or reduce values treat tags of their channels.

A tag is a number that stands for what a channel carries. The tags of a value are an array of its
rank, of size 1 along every axis where all elements have the same ones: so neither batch nor length
need be known, and [batch, length, heads, size] has tags [1, 1, heads, size]. A tag of an axis whose
size is not known does not exist.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    Indices = npt.NDArray[np.int64]

__all__ = ["compact", "moved_tags"]

_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")


def compact(tags: Indices) -> Indices:
    """Returns the tags with size 1 along every axis where they do not differ."""
    for axis, size in enumerate(tags.shape):
        first = tags.take([0], axis)
        if size > 1 and (tags == first).all():
            tags = first
    return tags


def moved_tags(node: ir.Node, tags: Indices) -> list[Indices] | None:
    """Returns the tags of each output of a node that reads one value with ``tags``.

    Args:
        node: Any node.
        tags: Of its first input, of that input's rank.

    Returns:
        None if the node is of another kind, has parameters that are not known, or brings channels
        of several tags together.
    """
    rule = _MOVES.get(node.op_type) if node.domain == "" else None
    found = rule(node, tags) if rule is not None else None
    return None if found is None else [compact(array) for array in found]


def _reshape(node: ir.Node, tags: Indices) -> list[Indices] | None:
    """Numbers keep their order, so a last block of axes becomes a last block of the same size."""
    old, new = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if old is None or new is None:
        return None
    first = next((axis for axis, size in enumerate(tags.shape) if size > 1), tags.ndim)
    block = old[first:]
    if None in block:
        return None
    size = math.prod(dim or 1 for dim in block)
    at = _block_start(new, size)
    if at is None:
        return None
    whole = np.broadcast_to(tags, (*tags.shape[:first], *(dim or 1 for dim in block)))
    ends = [dim or 1 for dim in new[at:]]
    return [whole.reshape((*[1] * at, *ends))]


def _block_start(shape: Sequence[int | None], size: int) -> int | None:
    """Returns the axis from which on ``shape`` holds ``size`` numbers."""
    held = 1
    for axis in range(len(shape), -1, -1):
        if held == size:
            return axis
        dim = shape[axis - 1] if axis else None
        if dim is None:
            return None
        held *= dim
    return None


def _transpose(node: ir.Node, tags: Indices) -> list[Indices]:
    return [tags.transpose(node.attributes.get_ints("perm", ()) or None)]


def _split(node: ir.Node, tags: Indices) -> list[Indices] | None:
    axis = (node.attributes.get_int("axis", 0) or 0) % tags.ndim
    if tags.shape[axis] == 1:
        return [tags] * len(node.outputs)
    shapes = [shape_of(part) for part in node.outputs]
    sizes = [0 if shape is None else shape[axis] or 0 for shape in shapes]
    if min(sizes) == 0 or sum(sizes) != tags.shape[axis]:
        return None
    return np.split(tags, np.cumsum(sizes)[:-1], axis)


def _squeeze(node: ir.Node, tags: Indices) -> list[Indices] | None:
    axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    chosen = () if axes is None else tuple(int(axis) % tags.ndim for axis in axes.reshape(-1))
    known = chosen and all(tags.shape[axis] == 1 for axis in chosen)
    return [tags.squeeze(chosen)] if known else None


def _unsqueeze(node: ir.Node, tags: Indices) -> list[Indices] | None:
    axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None:
        return None
    return [np.expand_dims(tags, tuple(int(axis) for axis in axes.reshape(-1)))]


def _gather(node: ir.Node, tags: Indices) -> list[Indices] | None:
    axis = (node.attributes.get_int("axis", 0) or 0) % tags.ndim
    rank, indices = shape_of(node.inputs[1]), weight_of(node.inputs[1])
    if tags.shape[axis] > 1:
        return None if indices is None else [tags.take(indices.astype(np.int64), axis)]
    if rank is None and indices is None:
        return None
    count = len(rank) if rank is not None else np.ndim(indices if indices is not None else 0)
    return [tags.reshape((*tags.shape[:axis], *[1] * count, *tags.shape[axis + 1 :]))]


def _slice(node: ir.Node, tags: Indices) -> list[Indices] | None:
    axes = weight_of(node.inputs[3]) if len(node.inputs) > 3 else None
    if axes is None or any(tags.shape[int(axis)] > 1 for axis in axes.reshape(-1)):
        return None
    return [tags]


def _reduce(node: ir.Node, tags: Indices) -> list[Indices] | None:
    axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    chosen = () if axes is None else tuple(int(axis) % tags.ndim for axis in axes.reshape(-1))
    if not chosen or any(tags.shape[axis] > 1 for axis in chosen):
        return None
    return [tags if node.attributes.get_int("keepdims", 1) else tags.squeeze(chosen)]


_MOVES: dict[str, Callable[[ir.Node, Indices], list[Indices] | None]] = {
    "Gather": _gather,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    **dict.fromkeys(_REDUCTIONS, _reduce),
}
