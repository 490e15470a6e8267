"""Recognizes rearrangements of channels that are written as Reshape, Transpose and Reshape.

Whatever the nodes are, they only move numbers. So they are applied to an array that holds its own
indices (:mod:`onnxq.graph.moves`): where the result is [N, C', …] and holds channel π(i) of the
input as its channel i, the nodes are the channel map π.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.moves import keeps_batch, moved
from onnxq.graph.query import is_graph_output, is_op, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    Indices = npt.NDArray[np.int64]

__all__ = ["Shuffle", "shuffle_at"]

_LARGEST = 1 << 23
_LONGEST = 6
_MOVERS = ("Gather", "Reshape", "Slice", "Transpose")


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
        known = depth > 0 and is_op(node, *_MOVERS)
        result = moved(node, [array]) if known else None
        if result is None or (self.dynamic and not keeps_batch(node, result)):
            return False
        self.nodes.append(node)
        value = node.outputs[0]
        channels = self._channels(result)
        if channels is not None:
            self.exits[value] = channels
            return True
        users = list(dict.fromkeys(user for user, position in value.uses() if position == 0))
        if is_graph_output(value) or not users or any(p for _, p in value.uses()):
            return False
        return all(self.follow(user, result, depth - 1) for user in users)

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
