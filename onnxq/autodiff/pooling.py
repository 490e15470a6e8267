"""Pooling: averages spread evenly, maxima to where they came from.

MaxPool runs again with its indices as output, and dy is scattered to them: so among equal maxima,
common behind Relu, one alone gets the gradient, the same as in torch. The forward MaxPool stays
without indices, in which form onnxruntime is fast.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.autodiff.geometry import Product, spread_back, window_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from onnxq.autodiff.site import Grads, Rule, Site
    from onnxq.graph.window import Window

    Shape = tuple[int, ...]

__all__ = ["RULES"]


def _max_pool(site: Site, dy: ir.Value) -> Grads:
    if site.node.attributes.get_int("storage_order", 0):
        raise site.refusal("it counts its indices by columns (storage_order)")
    x = site.x()
    shape = site.shape(x)
    assert x.dtype is not None, "every value of a specialized model has a dtype"
    attributes = {name: attr.value for name, attr in site.node.attributes.items()}
    _, places = site.ops("MaxPool", [x], [x.dtype, ir.DataType.INT64], **attributes)
    flat = site.op(
        "ScatterElements",
        site.zeros((math.prod(shape),)),
        site.reshape(places, (-1,)),
        site.reshape(dy, (-1,)),
        axis=0,
        reduction="add",
    )
    return {0: site.reshape(flat, shape)}


def _average_pool(site: Site, dy: ir.Value) -> Grads:
    """A convolution of each channel with 1 / count, so a ConvTranspose with ones takes it back."""
    x, y = site.shape(site.x()), site.shape(site.y)
    kernel = site.ints_attribute("kernel_shape")
    assert kernel is not None, "AveragePool must have a kernel_shape"
    window = window_at(site, kernel, x[2:], y[2:])
    padded = site.node.attributes.get_int("count_include_pad", 0) == 1
    counts = _counts(window, x[2:], y[2:], padded=padded)
    maps = math.prod(x[:2])
    share = site.reshape(site.mul(dy, site.array(1 / counts)), (maps, 1, *y[2:]))
    ones = site.array(np.ones((1, 1, *kernel)))
    each = Product(window, 1, (1, 1, *kernel), (maps, 1, *x[2:]), (maps, 1, *y[2:]))
    return {0: site.reshape(spread_back(site, each, share, ones), x)}


def _counts(window: Window, x: Shape, y: Shape, *, padded: bool) -> npt.NDArray[np.float64]:
    """Returns how many taps each output averages, padding counted or not; one number if equal."""
    counts = np.ones(())
    for axis, (size, n) in enumerate(zip(x, y, strict=True)):
        starts = np.arange(n)[:, None] * window.strides[axis]
        taps = starts + np.asarray(window.offsets(axis))[None]
        low, high = 0, size
        if padded:
            low, high = -window.begin[axis], size + window.end[axis]
        counts = counts[..., None] * ((taps >= low) & (taps < high)).sum(1)
    return counts.max() if (counts == counts.max()).all() else counts


def _global_average_pool(site: Site, dy: ir.Value) -> Grads:
    shape = site.shape(site.x())
    return {0: site.expand(site.mul(dy, 1 / math.prod(shape[2:])), shape)}


def _global_max_pool(site: Site, dy: ir.Value) -> Grads:
    """Evenly to all that are the maximum."""
    axes = range(2, len(site.shape(site.x())))
    mask = site.mask("Equal", site.x(), site.y)
    return {0: site.mul(mask, site.div(dy, site.sum(mask, axes, keep=True)))}


RULES: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
}
