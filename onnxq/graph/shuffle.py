"""Recognizes rearrangements of channels that are written as Reshape, Transpose and Reshape.

Whatever the nodes are, they only move numbers. So they are applied to an array that holds its own
indices: where the result is [N, C', …] and holds channel π(i) of the input as its channel i, the
nodes are the channel map π. That is a proof for the shapes used; with a dynamic batch, the nodes
must leave the first axis alone, so that every sample is moved alike.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxq.graph.query import is_graph_output, is_op, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    Indices = npt.NDArray[np.int64]

__all__ = ["Shuffle", "shuffle_at"]

_LARGEST = 1 << 23
_LONGEST = 6


class Shuffle(NamedTuple):
    """Nodes that together rearrange channels.

    Attributes:
        node: The Reshape that they begin with.
        nodes: All of them.
        source: What they read, [N, C, …].
        exits: Value → the channels of ``source`` that it holds, in its order. Nothing else that the
            nodes compute is read outside.
    """

    node: ir.Node
    nodes: tuple[ir.Node, ...]
    source: ir.Value
    exits: Mapping[ir.Value, tuple[int, ...]]


def shuffle_at(node: ir.Node) -> Shuffle | None:
    """Returns the shuffle that begins at ``node``, None if none does.

    The channels and what comes after them are static; the batch may be dynamic. Reshape, Transpose,
    Gather and Slice with constant parameters are understood.
    """
    source, shape = node.inputs[0], shape_of(node.inputs[0])
    behind = [user for user, _ in node.outputs[0].uses()]
    if source is None or shape is None or len(shape) < 3 or None in shape[1:]:
        return None
    if not is_op(node, "Reshape") or not behind or not is_op(behind[0], "Transpose"):
        return None
    dims = [2 if dim is None else dim for dim in shape]
    if not 0 < math.prod(dims) <= _LARGEST:
        return None
    start = np.arange(math.prod(dims), dtype=np.int64).reshape(dims)
    walk = _Walk(start, dynamic=shape[0] is None)
    if not walk.follow(node, start, _LONGEST):
        return None
    return Shuffle(node, tuple(walk.nodes), source, walk.exits)


class _Walk:
    """Follows an array of indices through nodes that only move numbers."""

    def __init__(self, start: Indices, *, dynamic: bool) -> None:
        self.start = start
        self.dynamic = dynamic
        self.nodes: list[ir.Node] = []
        self.exits: dict[ir.Value, tuple[int, ...]] = {}

    def follow(self, node: ir.Node, array: Indices, depth: int) -> bool:
        """Applies ``node``; says whether all that is computed from there ends in channel maps."""
        move = _MOVES.get(node.op_type) if node.domain == "" else None
        moved = None if move is None or depth == 0 else move(node, array)
        if moved is None or (self.dynamic and not _keeps_batch(node, moved)):
            return False
        self.nodes.append(node)
        value = node.outputs[0]
        channels = self._channels(moved)
        if channels is not None:
            self.exits[value] = channels
            return True
        users = list(dict.fromkeys(user for user, position in value.uses() if position == 0))
        if is_graph_output(value) or not users or any(p for _, p in value.uses()):
            return False
        return all(self.follow(user, moved, depth - 1) for user in users)

    def _channels(self, array: Indices) -> tuple[int, ...] | None:
        start = self.start
        same = array.ndim == start.ndim and array.shape[2:] == start.shape[2:]
        if not same or array.shape[0] != start.shape[0]:
            return None
        firsts = array.reshape(*array.shape[:2], -1)[0, :, 0]
        channels = firsts // math.prod(start.shape[2:])
        if channels.max() >= start.shape[1] or not np.array_equal(array, start[:, channels]):
            return None
        return tuple(int(channel) for channel in channels)


def _keeps_batch(node: ir.Node, moved: Indices) -> bool:
    """Says whether ``node`` leaves the first axis alone, whatever its size."""
    if is_op(node, "Transpose"):
        return (node.attributes.get_ints("perm", ()) or (1,))[0] == 0
    target = weight_of(node.inputs[1])
    if not is_op(node, "Reshape") or target is None:
        return False
    return bool(target[0] in (0, -1)) and moved.shape[0] == 2


def _reshape(node: ir.Node, array: Indices) -> Indices | None:
    target = weight_of(node.inputs[1])
    if target is None or node.attributes.get_int("allowzero", 0) == 1:
        return None
    if any(dim == 0 and axis >= array.ndim for axis, dim in enumerate(target)):
        return None
    dims = [int(dim) or array.shape[axis] for axis, dim in enumerate(target)]
    known = math.prod(dim for dim in dims if dim > 0)
    fits = array.size % known == 0 if -1 in dims else array.size == known
    return array.reshape(dims) if fits and dims.count(-1) < 2 else None


def _transpose(node: ir.Node, array: Indices) -> Indices:
    return array.transpose(node.attributes.get_ints("perm", ()) or None)


def _gather(node: ir.Node, array: Indices) -> Indices | None:
    indices, axis = weight_of(node.inputs[1]), node.attributes.get_int("axis", 0) or 0
    return None if indices is None else array.take(indices.astype(np.int64), axis)


def _slice(node: ir.Node, array: Indices) -> Indices | None:
    given: list[Any] = [weight_of(item) for item in node.inputs[1:] if item is not None]
    if len(given) != len(node.inputs) - 1 or any(item is None for item in given):
        return None
    starts, ends = given[0].tolist(), given[1].tolist()
    axes = given[2].tolist() if len(given) > 2 else range(len(starts))
    steps = given[3].tolist() if len(given) > 3 else [1] * len(starts)
    if min(steps) < 1:
        return None
    chosen = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        chosen[axis] = slice(start, end, step)
    return array[tuple(chosen)]


_MOVES: dict[str, Callable[[ir.Node, Indices], Indices | None]] = {
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "Transpose": _transpose,
}
