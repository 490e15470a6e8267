"""Shapes that a graph computes from the dimensions of its values.

Exporters that keep a dimension open write what they know of a shape as arithmetic on Shape. Most of
it is known without running; the rest is dimensions of values.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import is_op, weight_of
from onnxq.graph.roles import attribute

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Entries = npt.NDArray[np.object_]

__all__ = ["Dim", "entries_of"]

_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)
# Shapes are short; longer arrays are data.
_LONGEST = 64


@dataclass(frozen=True)
class Dim:
    """An entry that is known only at run time: dimension ``axis`` of ``value``."""

    value: ir.Value
    axis: int


def entries_of(value: ir.Value | None) -> Entries | None:
    """Returns what is known of an array of integers.

    Args:
        value: Of any rank; what Shape, Gather, Slice, Squeeze, Unsqueeze, Reshape, Concat, Cast and
            arithmetic on known numbers put together.

    Returns:
        An array of its shape, of ints and :class:`Dim`; None if anything else is in it.
    """
    weight = weight_of(value)
    if weight is not None:
        short = np.issubdtype(weight.dtype, np.integer) and weight.size <= _LONGEST
        return weight.astype(object) if short else None
    node = None if value is None else value.producer()
    reader = _READERS.get(node.op_type) if node is not None and node.domain == "" else None
    return None if node is None or reader is None else reader(node)


def _shape(node: ir.Node) -> Entries | None:
    x = node.inputs[0]
    if x is None or x.shape is None:
        return None
    every = np.empty(len(x.shape), object)
    for axis, dim in enumerate(x.shape):
        every[axis] = dim if isinstance(dim, int) else Dim(x, axis)
    return every[attribute(node, "start", 0) : attribute(node, "end", len(every))]


def _same(node: ir.Node) -> Entries | None:
    integral = attribute(node, "to", ir.DataType.INT64) in _INTEGERS
    return entries_of(node.inputs[0]) if integral else None


def _joined(node: ir.Node) -> Entries | None:
    parts = [entries_of(item) for item in node.inputs]
    known = [part for part in parts if part is not None and part.ndim == 1]
    return np.concatenate(known) if len(known) == len(parts) else None


def _gathered(node: ir.Node) -> Entries | None:
    entries, indices = entries_of(node.inputs[0]), weight_of(node.inputs[1])
    if entries is None or entries.ndim != 1 or indices is None:
        return None
    within = all(-len(entries) <= index < len(entries) for index in indices.reshape(-1))
    return np.asarray(entries[indices], object) if within else None


def _sliced(node: ir.Node) -> Entries | None:
    entries = entries_of(node.inputs[0])
    bounds = [weight_of(item) for item in node.inputs[1:]]
    if entries is None or entries.ndim != 1 or any(b is None or b.size != 1 for b in bounds):
        return None
    numbers = [int(b.reshape(())) for b in bounds if b is not None]
    step = numbers[3] if len(numbers) > 3 else 1
    return entries[numbers[0] : numbers[1] : step]


def _unsqueezed(node: ir.Node) -> Entries | None:
    entries, axes = entries_of(node.inputs[0]), weight_of(node.inputs[1])
    if entries is None or axes is None or entries.ndim or axes.size != 1:
        return None
    return entries.reshape(1)


def _squeezed(node: ir.Node) -> Entries | None:
    entries = entries_of(node.inputs[0])
    return entries.reshape(()) if entries is not None and entries.shape == (1,) else None


def _reshaped(node: ir.Node) -> Entries | None:
    entries, shape = entries_of(node.inputs[0]), weight_of(node.inputs[1])
    if entries is None or shape is None or (shape == 0).any():
        return None
    return entries.reshape([int(dim) for dim in shape])


def _arithmetic(node: ir.Node) -> Entries | None:
    pair = [entries_of(item) for item in node.inputs]
    if len(pair) != 2 or any(part is None or not _known(part) for part in pair):
        return None
    left, right = (np.asarray(part, object) for part in pair)
    if node.op_type == "Div" and ((left < 0).any() or (right <= 0).any()):
        return None
    return np.asarray(_ARITHMETIC[node.op_type](left, right), object)


def _chosen(node: ir.Node) -> Entries | None:
    """Where(Equal(a, b), …): a dimension is never negative."""
    test = None if node.inputs[0] is None else node.inputs[0].producer()
    if test is None or not is_op(test, "Equal"):
        return None
    parts = [entries_of(item) for item in (*test.inputs, *node.inputs[1:])]
    known = np.broadcast_arrays(*(part for part in parts if part is not None))
    if len(known) < len(parts):
        return None
    chosen = np.empty(known[0].shape, object)
    for place in np.ndindex(chosen.shape):
        left, right, yes, no = (part[place] for part in known)
        if isinstance(left, Dim) or isinstance(right, Dim):
            number = right if isinstance(left, Dim) else left
            if isinstance(number, Dim) or number >= 0:
                return None
            chosen[place] = no
        else:
            chosen[place] = yes if left == right else no
    return chosen


def _known(entries: Entries) -> bool:
    return all(isinstance(entry, int) for entry in entries.reshape(-1))


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Div": operator.floordiv,
    "Mul": operator.mul,
    "Sub": operator.sub,
}
_READERS: dict[str, Callable[[ir.Node], Entries | None]] = {
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    "Cast": _same,
    "Concat": _joined,
    "Gather": _gathered,
    "Reshape": _reshaped,
    "Shape": _shape,
    "Slice": _sliced,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Where": _chosen,
}
