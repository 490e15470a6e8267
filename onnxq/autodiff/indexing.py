"""Slice, Gather and Scatter.

What is picked by constant indices, each at most once, goes back by a Gather with the inverse
indices, an added slot of zeros standing for what was not picked; where it is a run, by a Pad.
Picks that repeat, or that depend on data, are scattered and added up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from onnxq.autodiff.site import Grads, Rule, Site

    Shape = tuple[int, ...]
    Indices = npt.NDArray[np.int64]

__all__ = ["RULES"]

_INT64 = ir.DataType.INT64


def _slice(site: Site, dy: ir.Value) -> Grads:
    x = site.shape(site.x())
    rank = len(x)
    starts, ends = site.weight(1, "starts"), site.weight(2, "ends")
    assert starts is not None, "Slice must have starts"
    assert ends is not None, "Slice must have ends"
    axes, steps = site.weight(3, "axes"), site.weight(4, "steps")
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    begin, end = [0] * rank, [0] * rank
    scattered: dict[int, Indices] = {}
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = int(axis) % rank
        picked = np.arange(x[place])[int(start) : int(stop) : int(step)]
        if step == 1 and len(picked):
            begin[place], end[place] = int(picked[0]), x[place] - 1 - int(picked[-1])
        else:
            scattered[place] = picked
    for place, picked in scattered.items():
        dy = _unpick(site, dy, x, place, picked)
    if any((*begin, *end)):
        dy = site.op("Pad", dy, site.ints(*begin, *end))
    return {0: dy}


def _unpick(site: Site, dy: ir.Value, x: Shape, axis: int, picked: Indices) -> ir.Value:
    """Emits what picks that name no index twice send back along an axis of shape ``x``."""
    rank, size = len(x), x[axis]
    run = len(picked) > 0 and (np.diff(picked) == 1).all()
    if run:
        begin, end = [0] * rank, [0] * rank
        begin[axis], end[axis] = int(picked[0]), size - 1 - int(picked[-1])
        return site.op("Pad", dy, site.ints(*begin, *end)) if begin[axis] or end[axis] else dy
    inverse = np.full(size, len(picked))
    inverse[picked] = np.arange(len(picked))
    if len(picked) < size:
        end = [0] * rank
        end[axis] = 1
        dy = site.op("Pad", dy, site.ints(*(0,) * rank, *end))
    return site.op("Gather", dy, site.indices(inverse), axis=axis)


def _gather(site: Site, dy: ir.Value) -> Grads:
    x = site.shape(site.x(0))
    axis = site.axis(len(x), 0)
    indices = site.shape(site.x(1))
    count = int(np.prod(indices))
    flat = (*x[:axis], count, *x[axis + 1 :])
    if flat != site.shape(site.y):
        dy = site.reshape(dy, flat)
    constant = weight_of(site.x(1))
    if constant is not None:
        picked = constant.reshape(-1).astype(np.int64) % x[axis]
        if len(np.unique(picked)) == count:
            return {0: _unpick(site, dy, x, axis, picked)}
    front = [axis, *(i for i in range(len(x)) if i != axis)]
    rows = site.reshape(site.x(1), (count, 1))
    zeros = site.zeros([x[i] for i in front])
    rows = site.op("Cast", rows, to=_INT64, dtype=_INT64) if site.x(1).dtype != _INT64 else rows
    added = site.op("ScatterND", zeros, rows, site.transpose(dy, front), reduction="add")
    return {0: site.transpose(added, [front.index(i) for i in range(len(x))])}


def _gather_elements(site: Site, dy: ir.Value) -> Grads:
    axis = site.axis(len(site.shape(site.x())), 0)
    zeros = site.zeros(site.shape(site.x()))
    back = site.op("ScatterElements", zeros, site.x(1), dy, axis=axis, reduction="add")
    return {0: back}


def _gather_nd(site: Site, dy: ir.Value) -> Grads:
    if site.node.attributes.get_int("batch_dims", 0):
        raise site.refusal("it has batch_dims")
    zeros = site.zeros(site.shape(site.x()))
    return {0: site.op("ScatterND", zeros, site.x(1), dy, reduction="add")}


def _scatter_elements(site: Site, dy: ir.Value) -> Grads:
    _check_adds(site)
    axis = site.axis(len(site.shape(site.x())), 0)
    return site.each(
        lambda: dy,
        None,
        lambda: site.op("GatherElements", dy, site.x(1), axis=axis),
    )


def _scatter_nd(site: Site, dy: ir.Value) -> Grads:
    _check_adds(site)
    return site.each(lambda: dy, None, lambda: site.op("GatherND", dy, site.x(1)))


def _check_adds(site: Site) -> None:
    if site.node.attributes.get_string("reduction", "none") != "add":
        raise site.refusal("it replaces elements; there is a gradient where it adds to them")


RULES: Mapping[str, Rule] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Slice": _slice,
}
