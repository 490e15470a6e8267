"""How much memory the values of a graph need at a time.

Nodes run in their order. A value lives from the node that computes it to the last one that reads
it, both included; inputs live from the start, outputs to the end. No value takes the place of
another, as a runtime may arrange for element-wise nodes, so this is an upper estimate.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.query import is_op, read_values, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir

__all__ = ["LivePeak", "live_peak"]


class LivePeak(NamedTuple):
    """The moment at which float values take most memory.

    Attributes:
        bytes: How much.
        node: Name of the node that runs then; empty for a graph without nodes.
        values: How many float values live then.
        unknown: Float values of the whole graph whose size is not known; they count nothing.
    """

    bytes: int
    node: str
    values: int
    unknown: int


def live_peak(graph: ir.Graph, shapes: Mapping[str, Sequence[int | None]]) -> LivePeak:
    """Finds the node at which the float values that live take most memory.

    Args:
        graph: Its nodes in an order in which they can run; values in subgraphs do not count.
        shapes: Value name → shape; where it is silent, the graph's own shapes count.
    """
    nodes = list(graph)
    last = {value: i for i, node in enumerate(nodes) for value in read_values(node)}
    last |= dict.fromkeys(graph.outputs, len(nodes))
    given = [value for value in graph.inputs if value.const_value is None]
    computed = [[] if is_op(node, "Constant") else list(node.outputs) for node in nodes]
    sizes: dict[ir.Value, int | None] = {
        value: _bytes(value, shapes)
        for value in (*given, *(out for outs in computed for out in outs))
        if value.dtype is not None and value.dtype.is_floating_point()
    }
    unknown = sum(size is None for size in sizes.values())
    live = {value: sizes[value] or 0 for value in given if value in sizes}
    peak = LivePeak(sum(live.values()), "", len(live), unknown)
    for i, node in enumerate(nodes):
        live |= {out: sizes[out] or 0 for out in computed[i] if out in sizes}
        if (total := sum(live.values())) > peak.bytes or not peak.node:
            peak = LivePeak(total, str(node.name), len(live), unknown)
        live = {value: size for value, size in live.items() if last.get(value, -1) > i}
    return peak


def _bytes(value: ir.Value, shapes: Mapping[str, Sequence[int | None]]) -> int | None:
    assert value.dtype is not None, "only values of a known dtype are asked about"
    shape = shapes.get(value.name or "")
    dims = shape_of(value) if shape is None else tuple(shape)
    if dims is None or any(dim is None for dim in dims):
        return None
    return math.ceil(math.prod(dim or 0 for dim in dims) * value.dtype.itemsize)
