"""Recognizes space-to-depth: each block of b x b positions becomes b · b times the channels.

It is written as strided Slices and Concat (the Focus layer of YOLOv5), as Reshape, Transpose and
Reshape, or as SpaceToDepth. All are nodes that only move numbers (:mod:`onnxq.graph.moves`), so the
result is compared with the map itself ::

    value[n, i, y, x]  =  source[n, c_i, b · y + dy_i, b · x + dx_i]        0 ≤ dy_i, dx_i < b
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.moves import keeps_batch, moved, moved_values, moves
from onnxq.graph.query import is_op, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import onnx_ir as ir

    Indices = npt.NDArray[np.int64]

__all__ = ["BlockMap", "block_map"]

_LARGEST = 1 << 23
_LONGEST = 6


class BlockMap(NamedTuple):
    """A space-to-depth map.

    Attributes:
        source: What is rearranged, [N, C, H, W].
        size: Positions b along each side of a block.
        channels: For each channel i of the result: c_i, dy_i and dx_i. All C · b · b occur once.
        nodes: What does it, in the graph's order, and what moves numbers in front of ``source``.
    """

    source: ir.Value
    size: int
    channels: tuple[tuple[int, int, int], ...]
    nodes: tuple[ir.Node, ...]


def block_map(value: ir.Value) -> BlockMap | str | None:
    """Returns the map that ends in ``value``.

    Returns:
        None if there is none. The reason, if it looks like one, but the height and width, which
        decide whether all blocks are whole, are not static.
    """
    nodes = _climb(value)
    shape = shape_of(value)
    if shape is None or None in shape[1:]:
        thinned = any(_thins(node) for node in nodes)
        return "the height and width of what is rearranged are not static" if thinned else None
    sources = dict.fromkeys(node.inputs[0] for node in nodes)
    for source in sources:
        size = None if source is None else _block_size(shape_of(source), shape)
        if source is not None and size is not None:
            channels = _Walk(source).channels(value, size)
            if channels is not None:
                involved = set(nodes)
                ordered = tuple(node for node in value.graph or () if node in involved)
                return BlockMap(source, size, channels, ordered)
    return None


def _climb(value: ir.Value) -> list[ir.Node]:
    """Returns the nodes in front of ``value`` that only move numbers, the last one first."""
    found: dict[ir.Node, None] = {}
    values: Iterable[ir.Value | None] = [value]
    for _ in range(_LONGEST):
        producers = dict.fromkeys(item.producer() for item in values if item is not None)
        nodes = [node for node in producers if node is not None and moves(node)]
        found |= dict.fromkeys(nodes)
        values = [item for node in nodes for item in moved_values(node)]
    return list(found)


def _thins(node: ir.Node) -> bool:
    """Says whether ``node`` alone may make height and width smaller."""
    steps = weight_of(node.inputs[4]) if is_op(node, "Slice") and len(node.inputs) > 4 else None
    return is_op(node, "SpaceToDepth") or (steps is not None and bool((steps > 1).any()))


def _block_size(
    source: tuple[int | None, ...] | None, result: tuple[int | None, ...]
) -> int | None:
    """Returns b if the shapes are those of a space-to-depth map, and not too large to prove it."""
    dims = () if source is None else tuple(2 if dim is None else dim for dim in source)
    if source is None or len(dims) != 4 or len(result) != 4 or None in source[1:]:
        return None
    channels, high, wide = (dim or 0 for dim in result[1:])
    size = dims[2] // high if high else 0
    if size < 2 or dims[1:] != (channels // size**2, high * size, wide * size):
        return None
    return size if source[0] == result[0] and math.prod(dims) <= _LARGEST else None


class _Walk:
    """Moves an array of indices from the source to a value."""

    def __init__(self, source: ir.Value) -> None:
        shape = shape_of(source) or ()
        dims = [2 if dim is None else dim for dim in shape]
        self._start = np.arange(math.prod(dims), dtype=np.int64).reshape(dims)
        self._dynamic = shape[0] is None
        self._known: dict[ir.Value | None, Indices | None] = {source: self._start}

    def channels(self, value: ir.Value, size: int) -> tuple[tuple[int, int, int], ...] | None:
        """Returns where each channel of ``value`` comes from, if it is a space-to-depth map."""
        start, result = self._start, self._at(value, _LONGEST)
        if result is None or result.ndim != 4 or not result.size:
            return None
        places = zip(*np.unravel_index(result[0, :, 0, 0], start.shape), strict=True)
        found = [
            (int(c), int(y), int(x))
            for n, c, y, x in places
            if (n, y // size, x // size) == (0, 0, 0)
        ]
        if len(set(found)) != start.shape[1] * size**2 or len(found) != result.shape[1]:
            return None
        same = (
            np.array_equal(result[:, i], start[:, c, y::size, x::size])
            for i, (c, y, x) in enumerate(found)
        )
        return tuple(found) if all(same) else None

    def _at(self, value: ir.Value | None, depth: int) -> Indices | None:
        if value not in self._known:
            self._known[value] = self._compute(value, depth)
        return self._known[value]

    def _compute(self, value: ir.Value | None, depth: int) -> Indices | None:
        node = None if value is None or depth == 0 else value.producer()
        if node is None or not moves(node):
            return None
        inputs = [self._at(item, depth - 1) for item in moved_values(node)]
        known = [item for item in inputs if item is not None]
        output = moved(node, known) if len(known) == len(inputs) else None
        kept = output is None or not self._dynamic or keeps_batch(node, output)
        return output if kept else None
