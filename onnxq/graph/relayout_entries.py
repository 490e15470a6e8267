"""Orders of axes for operators that are told something for every axis, such as Pad and Resize.

Part of :mod:`onnxq.graph.relayout`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.edit import drop_if_unused, replace_weight
from onnxq.graph.ports import Family, Ports, rank_of
from onnxq.graph.query import shape_of, weight_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.graph.axis_order import Order

__all__ = ["ENTRY_FAMILIES"]


def _entries_ports(node: ir.Node) -> Ports | None:
    """Expand and Tile: their second input has an entry for every axis."""
    rank, entries = rank_of(node.inputs[0]), weight_of(node.inputs[1])
    whole = entries is not None and entries.size == rank == rank_of(node.outputs[0])
    return Ports((0,), (0,)) if whole else None


def _order_entries(node: ir.Node, order: Order) -> None:
    entries = weight_of(node.inputs[1])
    assert entries is not None
    replace_weight(node, 1, entries[list(order)])


def _pad_ports(node: ir.Node) -> Ports | None:
    known = weight_of(node.inputs[1]) is not None and (
        len(node.inputs) < 4 or node.inputs[3] is None or weight_of(node.inputs[3]) is not None
    )
    return Ports((0,), (0,)) if known else None


def _order_pad(node: ir.Node, order: Order) -> None:
    # All axes are spelled out: onnxruntime's transpose optimizer spoils a Pad of some axes.
    amounts = weight_of(node.inputs[1])
    axes = weight_of(node.inputs[3]) if len(node.inputs) > 3 else None
    assert amounts is not None
    sides = np.zeros((2, len(order)), np.int64)
    places = slice(None) if axes is None else axes % len(order)
    sides[:, places] = amounts.reshape(2, -1)
    replace_weight(node, 1, sides[:, list(order)].reshape(-1))
    if axes is not None:
        old = node.inputs[3]
        assert old is not None
        node.resize_inputs(3)
        drop_if_unused(old)


def _slice_ports(node: ir.Node) -> Ports | None:
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    told = weight_of(axes) if axes is not None else weight_of(node.inputs[1])
    return None if told is None else Ports((0,), (0,))


def _order_slice(node: ir.Node, order: Order) -> None:
    axes = weight_of(node.inputs[3]) if len(node.inputs) > 3 else None
    if axes is None:
        starts = weight_of(node.inputs[1])
        assert starts is not None
        axes = np.arange(starts.size)
    places = [order.index(int(axis) % len(order)) for axis in axes]
    replace_weight(node, 3, np.array(places, np.int64), f"{node.name}.axes")


# ---- Resize --------------------------------------------------------------------------------------


def _resize_ports(node: ir.Node) -> Ports | None:
    crops = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    axes, rank = _resized(node), rank_of(node.inputs[0])
    if crops or axes is None or rank is None:
        return None
    if node.attributes.get_string("mode", "nearest") == "nearest":
        return Ports((0,), (0,))
    # onnxruntime interpolates along the last axes alone
    last = set(range(rank - 2, rank))
    return Ports((0,), (0,), lambda order: {order.index(axis) for axis in axes} <= last)


def _order_resize(node: ir.Node, order: Order) -> None:
    axes = node.attributes.get_ints("axes", ())
    if axes:
        places = [order.index(axis % len(order)) for axis in axes]
        node.attributes.add(ir.AttrInt64s("axes", places))
        return
    for position in range(2, len(node.inputs)):
        entries = weight_of(node.inputs[position])
        if entries is not None and entries.size:
            replace_weight(node, position, entries[list(order)])


def _resized(node: ir.Node) -> set[int] | None:
    """Returns the axes whose size may change, None if that is not known."""
    shape = shape_of(node.inputs[0])
    given: list[npt.NDArray[np.float64] | None] = [
        weight_of(value) if value is not None else np.zeros(0) for value in node.inputs[2:]
    ]
    if shape is None or any(entries is None for entries in given):
        return None
    axes = [axis % len(shape) for axis in node.attributes.get_ints("axes", range(len(shape)))]
    scales = given[0]
    if scales is None or not scales.size:
        sizes = given[1] if len(given) > 1 else None
        if sizes is None or len(sizes) != len(axes):
            return None
        return {axis for axis, size in zip(axes, sizes, strict=True) if shape[axis] != size}
    if len(scales) != len(axes):
        return None
    return {axis for axis, scale in zip(axes, scales, strict=True) if scale != 1}


ENTRY_FAMILIES: dict[str, Family] = {
    "Expand": Family(_entries_ports, _order_entries),
    "Pad": Family(_pad_ports, _order_pad),
    "Resize": Family(_resize_ports, _order_resize),
    "Slice": Family(_slice_ports, _order_slice),
    "Tile": Family(_entries_ports, _order_entries),
}
