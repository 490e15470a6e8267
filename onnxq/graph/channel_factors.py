"""Which channels can carry a factor of their own while the model computes the same.

A positive factor on a channel goes through operators f with f(s · x) = s · f(x): Relu, LeakyRelu,
pooling, moves of numbers, sums of values that carry the same factors. A linear layer that writes
the channel takes the factor into its weight's row, one that reads it takes the inverse into its
weight's column. Channels are followed one by one, through Concat and Split and across Flatten, so a
factor is a set of channels of several values. Whatever does not commute with factors binds the
channels that it touches to the factor 1. A Clip with an upper bound commutes with factors in the
channels that stay far below it, as long as the factor keeps them there.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.1, from pairs of layers to any graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from onnxq.graph.affine import affine_input, read_affine
from onnxq.graph.clips import OUT_OF_REACH, comes_near
from onnxq.graph.homogeneous import is_homogeneous
from onnxq.graph.linear import LinearLayer, linear_layer
from onnxq.graph.moves import moved_channels, moved_values, moves
from onnxq.graph.query import is_op, read_values, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

__all__ = ["ChannelFactors", "ChannelShift", "FactoredLayer", "channel_factors"]

_GATES = ("Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Clip")


class FactoredLayer(NamedTuple):
    """A linear layer between channels that carry factors.

    Attributes:
        layer: The layer.
        reads: Number of each input channel's factor, int64 [in_channels]; -1 for none.
        writes: Number of each output channel's factor, int64 [out_channels]; -1 for none.
    """

    layer: LinearLayer
    reads: Indices
    writes: Indices


class ChannelShift(NamedTuple):
    """A constant that is added channel by channel, and has to be multiplied along.

    Attributes:
        node: Add or Sub.
        position: Which of its inputs the constant is.
        carries: Number of each channel's factor, int64 [channels]; -1 for none.
    """

    node: ir.Node
    position: int
    carries: Indices


@dataclass(frozen=True, eq=False)
class ChannelFactors:
    """The factors that a graph leaves free.

    Attributes:
        count: How many there are.
        layers: The linear layers that a factor touches.
        shifts: The constants that a factor touches.
        carries: Value → number of each channel's factor, int64 [channels]; -1 for none.
        bound: What a linear layer computes → which reader of it lets no factor pass.
        limits: The greatest value of each factor, at least 1, float64 [count]; inf for none.
        clips: The Clips with an upper bound that a factor touches.
    """

    count: int
    layers: tuple[FactoredLayer, ...]
    shifts: tuple[ChannelShift, ...]
    carries: dict[ir.Value, Indices]
    bound: dict[ir.Value, str]
    limits: Array
    clips: tuple[ir.Node, ...]


def channel_factors(
    graph: ir.Graph, reach: Mapping[ir.Node, Array] | None = None
) -> ChannelFactors:
    """Returns the factors of ``graph``; those that no layer writes, or none reads, are left out.

    Args:
        graph: The main graph, sorted, with known shapes. Values without a known number of channels
            on axis 1 carry no factors.
        reach: Clip with an upper bound → which part of the way to a bound each of its channels
            goes (:mod:`onnxq.graph.clips`). Other such Clips let no factors pass.
    """
    reader = _Reader(reach or {})
    reader.bind(graph.inputs)
    for node in graph:
        reader.read(node)
    reader.bind(graph.outputs)
    return reader.factors()


class _Reader:
    """Numbers the channels of all values, from 1; 0 stands for what is bound to the factor 1."""

    def __init__(self, reach: Mapping[ir.Node, Array]) -> None:
        self._reach = reach
        self._channels: dict[ir.Value, Indices] = {}
        self._next = 1
        self._pairs: list[tuple[Indices, Indices]] = []
        self._layers: list[LinearLayer] = []
        self._shifts: list[tuple[ir.Node, int]] = []
        self._clips: list[ir.Node] = []
        self._bound: dict[ir.Value, str] = {}

    def factors(self) -> ChannelFactors:
        """Returns what has been read."""
        numbers = self._numbers()
        carries = {value: numbers[channels] for value, channels in self._channels.items()}
        layers = [
            FactoredLayer(layer, carries[layer.source], carries[layer.target])
            for layer in self._layers
        ]
        shifts = [
            ChannelShift(node, position, carries[node.outputs[0]])
            for node, position in self._shifts
        ]
        count = int(numbers.max(initial=-1)) + 1
        clips = {node: carries[node.outputs[0]] for node in self._clips}
        return ChannelFactors(
            count,
            tuple(item for item in layers if max(item.reads.max(), item.writes.max()) >= 0),
            tuple(item for item in shifts if item.carries.max() >= 0),
            carries,
            {v: self._bound[v] for v in (one.target for one in self._layers) if v in self._bound},
            self._limits(clips, count),
            tuple(node for node, numbers in clips.items() if numbers.max() >= 0),
        )

    def _limits(self, clips: Mapping[ir.Node, Indices], count: int) -> Array:
        """Returns how far each factor may go before a Clip that it passes would clip."""
        limits = np.full(count + 1, np.inf)
        for node, numbers in clips.items():
            rooms = OUT_OF_REACH / np.maximum(self._reach[node], np.finfo(np.float64).tiny)
            np.minimum.at(limits, numbers, np.maximum(rooms, 1.0))
        return limits[:-1]

    def _numbers(self) -> Indices:
        """Returns the number of the factor of each channel, -1 for none."""
        size = self._next
        none = np.zeros(0, np.int64)
        ends = [np.concatenate(side) for side in zip(*self._pairs, (none, none), strict=True)]
        edges = coo_array((np.ones(ends[0].size), (ends[0], ends[1])), shape=(size, size))
        _, component = connected_components(edges, directed=False)
        written, read = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        for layer in self._layers:
            written[component[self._channels[layer.target]]] = True
            read[component[self._channels[layer.source]]] = True
        free = written & read
        free[component[0]] = False
        return np.asarray(np.where(free, np.cumsum(free) - 1, -1)[component], np.int64)

    def channels(self, value: ir.Value | None) -> Indices | None:
        """Returns the numbers of the channels of ``value``; None if it has no known channels."""
        shape = shape_of(value)
        if value is None or shape is None or len(shape) < 2 or not shape[1]:
            return None
        if value not in self._channels:
            self._channels[value] = np.arange(self._next, self._next + shape[1])
            self._next += shape[1]
            if weight_of(value) is not None:
                self.bind([value])
        return self._channels[value]

    def bind(self, values: Iterable[ir.Value], reason: str | None = None) -> None:
        """Binds all channels of ``values``; the first reason, if there is one, is kept."""
        for value in values:
            channels = self.channels(value)
            if channels is not None:
                self._pairs.append((channels, np.zeros_like(channels)))
                if reason is not None:
                    self._bound.setdefault(value, reason)

    def _join(self, first: ir.Value | None, second: ir.Value | None) -> bool:
        a, b = self.channels(first), self.channels(second)
        if a is None or b is None or a.size != b.size:
            return False
        self._pairs.append((a, b))
        return True

    def read(self, node: ir.Node) -> None:
        """Enters what ``node`` does to factors."""
        if not self._understood(node):
            self.bind(
                [*read_values(node), *node.outputs],
                f"{node.op_type} lets no factors pass",
            )

    def _understood(self, node: ir.Node) -> bool:  # noqa: PLR0911 (one return per kind of node)
        x = node.inputs[0] if node.inputs else None
        if is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
            return self._read_layer(node)
        if is_homogeneous(node):
            return self._join(x, node.outputs[0])
        if node in self._reach:
            return self._read_clip(node)
        if moves(node):
            return self._read_move(node)
        if is_op(node, "Split"):
            return self._read_split(node)
        if is_op(node, "Add", "Sub", "Mul", "Div") and affine_input(node) is not None:
            return self._read_affine(node)
        if is_op(node, "Add", "Sub", "Sum", "Max", "Min"):
            shapes = {shape_of(value) for value in node.inputs}
            return len(shapes) == 1 and all(
                self._join(value, node.outputs[0]) for value in node.inputs
            )
        return is_op(node, "Mul") and self._read_gate(node)

    def _read_layer(self, node: ir.Node) -> bool:
        layer = linear_layer(node)
        if isinstance(layer, str) or node.inputs[1] is None or len(node.inputs[1].uses()) > 1:
            return False
        x, y = self.channels(layer.source), self.channels(layer.target)
        if x is None or y is None or (x.size, y.size) != (layer.in_channels, layer.out_channels):
            return False
        if layer.kind in ("Gemm", "MatMul") and layer.rank != 2:
            return False
        self._layers.append(layer)
        return True

    def _read_clip(self, node: ir.Node) -> bool:
        """Lets the factors of the channels pass that stay far below the upper bound."""
        channels, reach = self.channels(node.inputs[0]), self._reach[node]
        if channels is None or channels.size != reach.size:
            return False
        if not self._join(node.inputs[0], node.outputs[0]):
            return False
        near = channels[comes_near(reach)]
        self._pairs.append((near, np.zeros_like(near)))
        self._clips.append(node)
        return True

    def _read_affine(self, node: ir.Node) -> bool:
        x, y = affine_input(node), node.outputs[0]
        channels, shape = self.channels(x), shape_of(x)
        if channels is None or shape is None or not self._join(x, y):
            return False
        found = read_affine(node, channels.size, len(shape), 1 - len(shape))
        if isinstance(found, str):
            return False
        if is_op(node, "Add", "Sub"):
            self._shifts.append((node, 1 if node.inputs[0] is x else 0))
        return True

    def _read_gate(self, node: ir.Node) -> bool:
        """Lets the factors of x through x · gate, where the gate carries none."""
        gates = [value for value in node.inputs if value and is_op(value.producer(), *_GATES)]
        carriers = [value for value in node.inputs if value not in gates]
        if len(gates) != 1 or len(carriers) != 1:
            return False
        if shape_of(carriers[0]) != shape_of(node.outputs[0]):
            return False
        self.bind(gates)
        return self._join(carriers[0], node.outputs[0])

    def _read_split(self, node: ir.Node) -> bool:
        """Parts along the channels hold theirs in turn; along another axis, all of them."""
        channels, shape = self.channels(node.inputs[0]), shape_of(node.inputs[0])
        if channels is None or shape is None:
            return False
        axis = (node.attributes.get_int("axis", 0) or 0) % len(shape)
        if axis != 1:
            return axis > 1 and all(self._join(node.inputs[0], part) for part in node.outputs)
        parts = [self.channels(part) for part in node.outputs]
        if any(part is None for part in parts):
            return False
        joined = np.concatenate([part for part in parts if part is not None])
        if joined.size != channels.size:
            return False
        self._pairs.append((channels, joined))
        return True

    def _read_move(self, node: ir.Node) -> bool:
        """Follows every number; all that comes together in a channel has one factor."""
        channels = [self.channels(value) for value in moved_values(node)]
        target = self.channels(node.outputs[0])
        known = [numbers for numbers in channels if numbers is not None]
        rows = moved_channels(node, known) if len(known) == len(channels) else None
        if target is None or rows is None or len(rows) != target.size:
            return False
        pairs = np.unique(np.stack([rows.reshape(-1), np.repeat(target, rows.shape[1])]), axis=1)
        self._pairs.append((pairs[0], pairs[1]))
        return True
