"""Which linear layers read given channels, so that what is taken off a channel can be put back.

Taking c off a channel passes through operators f with f(x - c) = f(x) - c: pooling that sees no
zeros, means, moves of numbers. A linear layer W x + b that reads the channel without padding makes
up for it: W (x - c) + (b + W c) is what it was. Channels are followed one by one, through Concat
and Split and across Flatten. Whatever else reads a channel blocks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.channel_classes import is_spatial
from onnxq.graph.linear import LinearLayer, linear_layer
from onnxq.graph.moves import moved_channels, moved_values, moves
from onnxq.graph.query import is_op, read_values, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    Indices = npt.NDArray[np.int64]

__all__ = ["ChannelShifts", "ShiftReader", "channel_shifts"]

_POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")
_REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin")


class ShiftReader(NamedTuple):
    """A linear layer that can put back what is taken off the channels that it reads.

    Attributes:
        layer: The layer.
        reads: Number of each input channel, int64 [in_channels]; 0 for one that is not followed.
    """

    layer: LinearLayer
    reads: Indices


@dataclass(frozen=True, eq=False)
class ChannelShifts:
    """Where followed channels go.

    Attributes:
        numbers: Followed value → number of each of its channels, int64 [channels], from 1.
        readers: The linear layers that read them.
        blocked: Number → why nothing can be taken off that channel.
    """

    numbers: Mapping[ir.Value, Indices]
    readers: tuple[ShiftReader, ...]
    blocked: Mapping[int, str]


def channel_shifts(graph: ir.Graph, values: Iterable[ir.Value]) -> ChannelShifts:
    """Follows the channels of ``values`` to all that read them.

    Args:
        graph: The main graph, sorted.
        values: Values of the graph with a known number of channels on axis 1.
    """
    walk = _Walk(values)
    for node in graph:
        walk.read(node)
    for value in graph.outputs:
        walk.block([value], "a graph output holds it")
    return walk.shifts()


class _Walk:
    """Numbers the followed channels from 1; 0 stands for all others."""

    def __init__(self, values: Iterable[ir.Value]) -> None:
        self._starts: dict[ir.Value, Indices] = {}
        self._held: dict[ir.Value, Indices] = {}
        self._readers: list[ShiftReader] = []
        self._blocked: dict[int, str] = {}
        first = 1
        for value in values:
            size = (shape_of(value) or (0, None))[1] or 0
            self._starts[value] = self._held[value] = np.arange(first, first + size)
            first += size

    def shifts(self) -> ChannelShifts:
        """Returns what has been found."""
        return ChannelShifts(self._starts, tuple(self._readers), self._blocked)

    def block(self, values: Iterable[ir.Value], reason: str) -> None:
        """Blocks all that ``values`` hold; the first reason stays."""
        for value in values:
            for number in np.unique(self._held.get(value, np.zeros(0, np.int64))):
                if number:
                    self._blocked.setdefault(int(number), reason)

    def read(self, node: ir.Node) -> None:
        """Follows what is taken off through ``node``."""
        values = [value for value in read_values(node) if value in self._held]
        reason = self._followed(node) if values else None
        if reason is not None:
            self.block(values, reason)

    def _followed(self, node: ir.Node) -> str | None:
        """Returns None if the channels go on or are made up for, else why not."""
        label = f"{node.op_type} '{node.name}'" if node.name else node.op_type
        x = node.inputs[0]
        held = self._held.get(x) if x is not None else None
        if is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
            reason = self._read_layer(node, held)
            return None if reason is None else f"{label} reads it, and {reason}"
        if moves(node) and self._read_move(node):
            return None
        if is_op(node, "Split") and held is not None and self._read_split(node, held):
            return None
        if held is not None and _keeps_shift(node):
            self._held[node.outputs[0]] = held
            return None
        return f"{label} reads it"

    def _read_layer(self, node: ir.Node, held: Indices | None) -> str | None:
        layer = linear_layer(node)
        if isinstance(layer, str):
            return layer
        if layer.padded:
            return "sees zeros beyond the border"
        if len(layer.node.inputs[1].uses()) > 1:  # type: ignore[union-attr]  # it has a weight
            return "its weight is shared"
        if layer.kind in ("Gemm", "MatMul") and layer.rank != 2:
            return "its input is not known to have rank 2"
        if held is None or held.size != layer.in_channels:
            return "not as its channels"
        self._readers.append(ShiftReader(layer, held))
        return None

    def _read_move(self, node: ir.Node) -> bool:
        channels = [self._numbers(value) for value in moved_values(node)]
        known = [numbers for numbers in channels if numbers is not None]
        rows = moved_channels(node, known) if len(known) == len(channels) else None
        if rows is None or rows.shape[1] > 1:
            return False
        self._held[node.outputs[0]] = rows[:, 0]
        return True

    def _read_split(self, node: ir.Node, held: Indices) -> bool:
        """Parts along the channels hold theirs in turn; along another axis, all of them."""
        shapes = [shape_of(part) for part in node.outputs]
        sizes = [None if shape is None or len(shape) < 2 else shape[1] for shape in shapes]
        axis = (node.attributes.get_int("axis", 0) or 0) % len(shape_of(node.inputs[0]) or (0,))
        if axis == 0 or (axis == 1 and sum(size or 0 for size in sizes) != held.size):
            return False
        start = 0
        for part, size in zip(node.outputs, sizes, strict=True):
            self._held[part] = held[start : start + (size or 0)] if axis == 1 else held
            start += size or 0
        return True

    def _numbers(self, value: ir.Value | None) -> Indices | None:
        shape = shape_of(value)
        if value is None or shape is None or len(shape) < 2 or not shape[1]:
            return None
        return self._held.get(value, np.zeros(shape[1], np.int64))


def _keeps_shift(node: ir.Node) -> bool:
    """Says whether ``node`` works inside each channel, and f(x - c) = f(x) - c."""
    if is_op(node, "Identity"):
        return True
    if is_op(node, *_REDUCTIONS):
        shape = shape_of(node.inputs[0])
        axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
        return shape is not None and axes is not None and bool((axes % len(shape) > 1).all())
    if not is_op(node, *_POOLS) or not is_spatial(node):
        return False
    # MaxPool pads with -inf; AveragePool may leave the padding out, or count its zeros.
    return not node.attributes.get_int("count_include_pad", 0) or not _pads(node)


def _pads(node: ir.Node) -> bool:
    same = node.attributes.get_string("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    return same or any(node.attributes.get_ints("pads", ()) or ())
