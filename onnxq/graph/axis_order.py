"""Orders of axes: what Transposes are made of.

An order is a tuple of all numbers 0 … rank - 1. To bring an array into the order ``p`` is
``np.transpose(array, p)``: its axis i is what was axis p[i].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.query import is_op, shape_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import onnx_ir as ir

__all__ = ["Order", "between", "compose", "kept_in_place", "order_of", "reshape_for"]

Order = tuple[int, ...]


def compose(first: Order, then: Order) -> Order:
    """Returns the one order that does the same as ``first``, then ``then``."""
    return tuple(first[axis] for axis in then)


def between(old: Order, new: Order) -> Order:
    """Returns the order that leads from a value in the order ``old`` to the order ``new``."""
    return tuple(old.index(axis) for axis in new)


def kept_in_place(order: Order, dropped: Collection[int]) -> bool:
    """Says whether all axes but the ``dropped`` ones follow each other as before."""
    rest = [axis for axis in order if axis not in dropped]
    return rest == sorted(rest)


def order_of(node: ir.Node) -> Order | None:
    """Returns the order in which ``node`` puts the axes of its input.

    Returns:
        The order of a Transpose, or of a Reshape that moves nothing but axes of size 1, for which
        the axes of size 1 are taken in turn; None for other nodes and for unknown ranks.
    """
    shape = shape_of(node.inputs[0]) if node.inputs else None
    if shape is None:
        return None
    if is_op(node, "Transpose"):
        order = tuple(node.attributes.get_ints("perm", ()) or range(len(shape))[::-1])
        return order if sorted(order) == list(range(len(shape))) else None
    if not is_op(node, "Reshape"):
        return None
    return _order_of_ones(node.inputs[0], node.outputs[0])


def _order_of_ones(x: ir.Value | None, y: ir.Value) -> Order | None:
    if x is None or x.shape is None or y.shape is None or len(x.shape) != len(y.shape):
        return None
    before, after = list(x.shape), list(y.shape)
    ones = [axis for axis, dim in enumerate(before) if dim == 1]
    rest = [axis for axis, dim in enumerate(before) if dim != 1]
    moved = [dim for dim in after if dim != 1]
    unknown = [dim for dim in moved if not isinstance(dim, int)]
    same = [before[axis] for axis in rest] == moved and len(unknown) <= 1
    if not ones or not same or after.count(1) != len(ones):
        return None
    return tuple(ones.pop(0) if dim == 1 else rest.pop(0) for dim in after)


def reshape_for(order: Order, dims: Sequence[object]) -> list[int] | None:
    """Returns the target of a Reshape that does what a Transpose by ``order`` does.

    Args:
        order: New order of the axes.
        dims: Sizes before; what is no number is not known.

    Returns:
        A size or -1 for every axis; None if more than axes of size 1 would move, or more than one
        size is not known.
    """
    ones = {axis for axis, dim in enumerate(dims) if dim == 1}
    target = [dim if isinstance(dim, int) else -1 for dim in (dims[axis] for axis in order)]
    if not kept_in_place(order, ones) or target.count(-1) > 1 or 0 in target:
        return None
    return target
