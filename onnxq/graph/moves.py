"""What nodes that only move numbers do, shown on an array that holds its own indices.

Whatever such nodes are, together they are known by what they make of an array in which every
number differs. That is a proof for the shapes used; with a dynamic batch, the nodes must leave the
first axis alone, so that every sample is moved alike.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.query import is_op, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    Indices = npt.NDArray[np.int64]

__all__ = ["keeps_batch", "moved", "moved_channels", "moved_values", "moves"]


def moves(node: ir.Node) -> bool:
    """Says whether ``node`` is of a kind that only moves numbers."""
    return is_op(node, "Concat", *_MOVES)


def moved_values(node: ir.Node) -> list[ir.Value | None]:
    """Returns what ``node`` moves: all inputs of Concat, else the first one."""
    return list(node.inputs) if is_op(node, "Concat") else [node.inputs[0]]


def moved(node: ir.Node, inputs: Sequence[Indices]) -> Indices | None:
    """Applies ``node`` to arrays in place of the values that it moves.

    Args:
        node: Any node.
        inputs: An array for each of :func:`moved_values`.

    Returns:
        The output; None if the node is of another kind or has parameters that are not known.
    """
    if is_op(node, "Concat"):
        return _concat(inputs, _axis(node))
    return _MOVES[node.op_type](node, inputs[0]) if moves(node) else None


def keeps_batch(node: ir.Node, output: Indices) -> bool:
    """Says whether ``node`` leaves the first axis alone, whatever its size.

    Args:
        node: One that :func:`moved` knows.
        output: What it makes of a batch of two.
    """
    if is_op(node, "Transpose"):
        return (node.attributes.get_ints("perm", ()) or (1,))[0] == 0
    if is_op(node, "Reshape"):
        target = weight_of(node.inputs[1])
        return target is not None and bool(target[0] in (0, -1)) and output.shape[0] == 2
    if is_op(node, "Slice"):
        axes = weight_of(node.inputs[3]) if len(node.inputs) > 3 else None
        return axes is not None and not (axes % output.ndim == 0).any()
    if is_op(node, "Flatten"):
        return node.attributes.get_int("axis", 1) == 1
    if is_op(node, "Squeeze", "Unsqueeze"):
        axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
        rank = output.ndim + (axes.size if axes is not None and is_op(node, "Squeeze") else 0)
        return axes is not None and not (axes % rank == 0).any()
    return is_op(node, "SpaceToDepth") or _axis(node) % output.ndim != 0


def moved_channels(node: ir.Node, channels: Sequence[Indices]) -> Indices | None:
    """Says which channels of what ``node`` moves come together in each channel of its output.

    Args:
        node: Any node.
        channels: A number for each channel (axis 1) of each of :func:`moved_values`, int64.

    Returns:
        The numbers that each output channel holds, some of them repeated, int64 [output channels,
        k]; k is 1 where each holds one number alone. None if that is not known, or the batch is not
        left alone.
    """
    arrays: list[Indices] = []
    for value, numbers in zip(moved_values(node), channels, strict=True):
        shape = shape_of(value)
        if shape is None or len(shape) < 2 or None in shape[1:]:
            return None
        column = numbers.reshape(1, -1, *[1] * (len(shape) - 2))
        arrays.append(np.broadcast_to(column, (2, *[size or 1 for size in shape[1:]])))
    found = moved(node, arrays)
    if found is None or found.ndim < 2 or found.shape[0] != 2 or not keeps_batch(node, found):
        return None
    rows = np.moveaxis(found, 1, 0).reshape(found.shape[1], -1)
    return rows[:, :1] if (rows == rows[:, :1]).all() else rows


def _axis(node: ir.Node) -> int:
    return node.attributes.get_int("axis", 0) or 0


def _concat(arrays: Sequence[Indices], axis: int) -> Indices | None:
    rest = {np.delete(array.shape, axis).tobytes() for array in arrays}
    return np.concatenate(arrays, axis) if len(rest) == 1 else None


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


def _flatten(node: ir.Node, array: Indices) -> Indices:
    return array.reshape(math.prod(array.shape[: node.attributes.get_int("axis", 1)]), -1)


def _squeeze(node: ir.Node, array: Indices) -> Indices | None:
    """Without axes, it depends on the size of the batch what it does."""
    axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or any(array.shape[axis] != 1 for axis in axes):
        return None
    return array.squeeze(tuple(axes.tolist()))


def _unsqueeze(node: ir.Node, array: Indices) -> Indices | None:
    axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if axes is None else np.expand_dims(array, tuple(axes.reshape(-1).tolist()))


def _transpose(node: ir.Node, array: Indices) -> Indices:
    return array.transpose(node.attributes.get_ints("perm", ()) or None)


def _gather(node: ir.Node, array: Indices) -> Indices | None:
    indices = weight_of(node.inputs[1])
    return None if indices is None else array.take(indices.astype(np.int64), _axis(node))


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


def _space_to_depth(node: ir.Node, array: Indices) -> Indices | None:
    block = node.attributes.get_int("blocksize", 1) or 1
    if array.ndim != 4 or any(size % block for size in array.shape[2:]):
        return None
    batch, channels, high, wide = array.shape
    cells = array.reshape(batch, channels, high // block, block, wide // block, block)
    return cells.transpose(0, 3, 5, 1, 2, 4).reshape(batch, -1, high // block, wide // block)


_MOVES: dict[str, Callable[[ir.Node, Indices], Indices | None]] = {
    "Flatten": _flatten,
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
