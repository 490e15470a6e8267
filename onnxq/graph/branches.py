"""Parallel branches of one value that are summed, seen as convolutions that can be added up.

Convolutions of one input at one stride are sums over the same positions, so their kernels may be
laid over each other: with tap j of branch i at o_i + j · d_i, relative to the output's position ::

    kernel[t] = Σ_i kernel_i[j]   where   o_i + j · d_i  =  o + t · d
    o = min o_i,   d = the greatest common divisor of all distances between taps

A value that is scaled and shifted per channel, or just handed on, is a convolution of one tap with
a diagonal kernel (Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021, section 3.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.affine import affine_input, read_affine
from onnxq.graph.batchnorm import read_batchnorm
from onnxq.graph.linear import linear_layer
from onnxq.graph.query import is_op, only_use, shape_of
from onnxq.graph.window import Window, window_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[np.float64]

__all__ = ["Branch", "Kernel", "add_up", "read_branch", "sum_terms"]


@dataclass(frozen=True, eq=False)
class Branch:
    """One term of a sum.

    Attributes:
        term: The value that is summed.
        source: What it is computed from.
        nodes: What computes it.
        weight: float64 [outputs, inputs / group, kernel …] of a convolution, [channels] of a
            diagonal branch.
        bias: float64 [outputs]; None without one.
        window: Of a convolution; None for a diagonal branch, which fits any of one tap.
        group: Channel groups of a convolution.
    """

    term: ir.Value
    source: ir.Value
    nodes: tuple[ir.Node, ...]
    weight: Array
    bias: Array | None
    window: Window | None = None
    group: int = 1

    @property
    def diagonal(self) -> bool:
        """Whether the branch works channel by channel, at one position."""
        return self.window is None


class Kernel(NamedTuple):
    """What several branches add up to: weight float64 [outputs, inputs / group, kernel …]."""

    weight: Array
    bias: Array | None
    window: Window


def sum_terms(root: ir.Node) -> tuple[list[ir.Value], list[ir.Node]]:
    """Returns what a tree of Adds sums up, from left to right, and the Adds, ``root`` the first.

    An Add belongs to the tree if another one of the tree alone reads it. One that adds a constant
    is no part of it.
    """
    terms: list[ir.Value] = []
    nodes = [root]
    stack = list(reversed(root.inputs))
    while stack:
        value = stack.pop()
        assert value is not None
        producer = value.producer()
        if producer is not None and is_sum(producer) and only_use(value) is not None:
            nodes.append(producer)
            stack.extend(reversed(producer.inputs))
        else:
            terms.append(value)
    return terms, nodes


def is_sum(node: ir.Node) -> bool:
    """Says whether ``node`` adds two computed values."""
    return is_op(node, "Add") and affine_input(node) is None


def read_branch(term: ir.Value) -> Branch | str:
    """Reads a term of a sum: a Conv, a chain of affine nodes, or a value that is handed on.

    Returns:
        The branch; for a Conv that cannot be one, the reason.
    """
    producer = term.producer()
    if producer is not None and is_op(producer, "Conv"):
        return _read_conv(term, producer)
    return _read_diagonal(term)


def _read_conv(term: ir.Value, node: ir.Node) -> Branch | str:
    layer, source = linear_layer(node), node.inputs[0]
    if isinstance(layer, str):
        return layer
    if only_use(term) is None:
        return f"'{term.name}' is also read elsewhere"
    window = window_of(node)
    if isinstance(window, str):
        return window
    assert source is not None
    return Branch(term, source, (node,), layer.weight, layer.bias, window, layer.group)


def _read_diagonal(term: ir.Value) -> Branch:
    """Follows BatchNormalization, Mul, Add … by constants backward, as long as nobody else does."""
    shape = shape_of(term)
    channels = shape[1] if shape is not None and len(shape) > 2 else None
    if shape is None or channels is None:
        return Branch(term, term, (), np.ones(0), None)
    source = term
    nodes: list[ir.Node] = []
    scale, shift = np.ones(channels), np.zeros(channels)
    while only_use(source) is not None and (node := source.producer()) is not None:
        step = _affine(node, channels, len(shape))
        if step is None:
            break
        source, (factor, offset) = step
        shift = shift + scale * offset
        scale = scale * factor
        nodes.append(node)
    return Branch(term, source, tuple(nodes), scale, shift if shift.any() else None)


def _affine(node: ir.Node, channels: int, rank: int) -> tuple[ir.Value, tuple[Array, Array]] | None:
    """Returns x, scale and shift of a node that computes scale · x + shift of a value's shape."""
    x = node.inputs[0] if is_op(node, "BatchNormalization") else affine_input(node)
    if x is None or shape_of(x) != shape_of(node.outputs[0]):
        return None
    if is_op(node, "BatchNormalization"):
        norm = read_batchnorm(node)
        return None if isinstance(norm, str) else (x, (norm.scale, norm.shift))
    affine = read_affine(node, channels, rank, 1 - rank)
    return None if isinstance(affine, str) else (x, (affine.scale, affine.shift))


def add_up(branches: Sequence[Branch]) -> Kernel | str:
    """Lays the kernels of ``branches`` of one value over each other.

    Args:
        branches: At least one convolution, and all of one output shape.

    Returns:
        Their sum; or the reason why there is none, or none that costs no more than its parts.
    """
    convolutions = [b for b in branches if b.window is not None]
    first = convolutions[0]
    window = first.window
    assert window is not None
    outputs, inputs = first.weight.shape[:2]
    taps = [[_offsets(b, axis) for b in branches] for axis in range(len(window.kernel))]
    grids = [_Grid.over(of_axis) for of_axis in taps]
    parts = [math.prod(b.window.kernel) for b in convolutions if b.window is not None]
    if math.prod(grid.size for grid in grids) > sum(parts):
        return "one kernel over all taps would multiply more"
    weight = np.zeros((outputs, inputs, *(grid.size for grid in grids)))
    for number, branch in enumerate(branches):
        places = [grid.places(of_axis[number]) for grid, of_axis in zip(grids, taps, strict=True)]
        weight[np.ix_(range(outputs), range(inputs), *places)] += _dense(branch, first)
    biases = [branch.bias for branch in branches if branch.bias is not None]
    bias = np.asarray(np.sum(biases, axis=0)) if biases else None
    return Kernel(weight, bias, _around(grids, convolutions))


class _Grid(NamedTuple):
    """Evenly spaced taps along one axis."""

    start: int
    step: int
    size: int

    @classmethod
    def over(cls, taps: Iterable[Sequence[int]]) -> _Grid:
        """Returns the coarsest grid that has all the taps."""
        every = sorted({place for of_one in taps for place in of_one})
        step = math.gcd(*(place - every[0] for place in every)) or 1
        return cls(every[0], step, (every[-1] - every[0]) // step + 1)

    def places(self, taps: Sequence[int]) -> list[int]:
        """Returns the numbers of ``taps`` on the grid."""
        return [(tap - self.start) // self.step for tap in taps]


def _around(grids: Sequence[_Grid], convolutions: Sequence[Branch]) -> Window:
    """Returns the window of all taps that has the branches' number of outputs.

    Where their slacks differ, all give that number; the largest keeps every padding non-negative.
    """
    windows = [b.window for b in convolutions if b.window is not None]
    slacks = [max(of_axis) for of_axis in zip(*(w.slack for w in windows), strict=True)]
    return Window(
        kernel=tuple(grid.size for grid in grids),
        strides=windows[0].strides,
        dilations=tuple(grid.step for grid in grids),
        begin=tuple(-grid.start for grid in grids),
        end=tuple(
            slack + grid.start + (grid.size - 1) * grid.step
            for slack, grid in zip(slacks, grids, strict=True)
        ),
    )


def _offsets(branch: Branch, axis: int) -> tuple[int, ...]:
    return (0,) if branch.window is None else branch.window.offsets(axis)


def _dense(branch: Branch, like: Branch) -> Array:
    """Returns the kernel of ``branch``, with as many groups as ``like``."""
    if not branch.diagonal:
        return branch.weight
    outputs, inputs = like.weight.shape[:2]
    kernel = np.zeros((outputs, inputs))
    kernel[np.arange(outputs), np.arange(outputs) % inputs] = branch.weight
    return kernel.reshape(outputs, inputs, *[1] * (like.weight.ndim - 2))
