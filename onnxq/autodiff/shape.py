"""Operators that move values without changing them: the gradient moves back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from onnxq.autodiff.separable import apply_adjoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.autodiff.site import Grads, Rule, Site

__all__ = ["RULES"]


def _reshaped(site: Site, dy: ir.Value) -> Grads:
    """Reshape, Flatten, Squeeze, Unsqueeze: back to the shape of x."""
    return {0: site.flat_to(dy, site.shape(site.x()))}


def _transpose(site: Site, dy: ir.Value) -> Grads:
    rank = len(site.shape(site.x()))
    order = site.ints_attribute("perm") or tuple(reversed(range(rank)))
    return {0: site.transpose(dy, [order.index(axis) for axis in range(rank)])}


def _concat(site: Site, dy: ir.Value) -> Grads:
    """Only the parts that need one are cut out."""
    axis = site.axis(len(site.shape(site.y)), 0)
    sizes = [site.shape(site.x(i))[axis] for i in range(len(site.node.inputs))]
    ends = np.cumsum(sizes).tolist()

    def part(i: int) -> ir.Value:
        start = ends[i] - sizes[i]
        return site.op("Slice", dy, site.ints(start), site.ints(ends[i]), site.ints(axis))

    return {i: part(i) for i in site.needs}


def _split(site: Site, dy: ir.Value) -> Grads:
    del dy  # all outputs count
    axis = site.axis(len(site.shape(site.x())), 0)
    parts = [
        site.zeros(site.shape(output)) if cotangent is None else cotangent
        for output, cotangent in zip(site.node.outputs, site.cotangents, strict=True)
    ]
    return {0: site.op("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]}


def _expand(site: Site, dy: ir.Value) -> Grads:
    return {0: site.fit(dy, 0)}


def _tile(site: Site, dy: ir.Value) -> Grads:
    """[r · n] seen as [r, n] on every axis, summed over the r."""
    shape, wide = site.shape(site.x()), site.shape(site.y)
    pairs = [(m // n, n) for m, n in zip(wide, shape, strict=True)]
    split = site.reshape(dy, [size for pair in pairs for size in pair])
    return {0: site.sum(split, range(0, 2 * len(shape), 2))}


def _pad(site: Site, dy: ir.Value) -> Grads:
    """Constant padding is cut off; what was reflected or repeated is added where it came from."""
    mode = site.node.attributes.get_string("mode", "constant")
    shape = site.shape(site.x())
    rank = len(shape)
    pads = site.weight(1, "pads")
    assert pads is not None, "Pad must have pads"
    axes = site.weight(3, "axes")
    order = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]
    begin, end = [0] * rank, [0] * rank
    for place, axis in enumerate(order):
        begin[axis], end[axis] = int(pads[place]), int(pads[len(order) + place])
    if mode == "constant":
        return site.each(lambda: site.op("Pad", dy, site.ints(*(-p for p in (*begin, *end)))))
    if min(*begin, *end) < 0:
        raise site.refusal(f"it pads by less than nothing in mode '{mode}'")
    for axis in order:
        if begin[axis] or end[axis]:
            read = np.pad(np.arange(shape[axis]), (begin[axis], end[axis]), mode=_PAD_MODES[mode])
            sizes = (*shape[: axis + 1], *site.shape(site.y)[axis + 1 :])
            dy = apply_adjoint(site, dy, len(sizes), axis, np.eye(shape[axis])[read])
    return {0: dy}


_PAD_MODES: Mapping[str, Literal["reflect", "edge", "wrap"]] = {
    "reflect": "reflect",
    "edge": "edge",
    "wrap": "wrap",
}


def _depth_to_space(site: Site, dy: ir.Value) -> Grads:
    """[n, c, h · b, w · b] → [n, b · b · c, h, w], in either order of channels."""
    block = site.node.attributes.get_int("blocksize", 1)
    if site.node.attributes.get_string("mode", "DCR") == "DCR":
        return {0: site.op("SpaceToDepth", dy, blocksize=block)}
    n, depth, height, width = site.shape(site.x())
    channels = depth // block**2
    split = site.reshape(dy, (n, channels, height, block, width, block))
    order = site.transpose(split, (0, 1, 3, 5, 2, 4))
    return {0: site.reshape(order, (n, depth, height, width))}


def _space_to_depth(site: Site, dy: ir.Value) -> Grads:
    block = site.node.attributes.get_int("blocksize", 1)
    return {0: site.op("DepthToSpace", dy, blocksize=block)}


def _triangle(site: Site, dy: ir.Value) -> Grads:
    upper = site.node.attributes.get_int("upper", 1)
    return site.each(lambda: site.op("Trilu", dy, site.input(1), upper=upper))


RULES: Mapping[str, Rule] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _reshaped,
    "Pad": _pad,
    "Reshape": _reshaped,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshaped,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _reshaped,
}
