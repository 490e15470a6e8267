"""Conv and ConvTranspose: gradients by input and bias; those by weight are in their own file.

By input, for stride 1, the gradient is a convolution with the flipped weight, whose padding is
dilation · (kernel - 1) - padding: onnxruntime folds the flip of a constant weight and runs the
convolution in blocked layout. For other strides it is a ConvTranspose; filling dy up with zeros
instead takes 3 to 15 times as long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from onnxq.autodiff.convolution_weight import weight_gradient
from onnxq.autodiff.geometry import Product, extent, spread_back, window_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.autodiff.site import Grads, Rule, Site

__all__ = ["RULES"]


def _conv(site: Site, dy: ir.Value) -> Grads:
    product = _product(site, x=site.x(0), y=site.y)
    return site.each(
        lambda: _input_gradient(site, dy, product),
        lambda: weight_gradient(site, product, x=site.x(0), dy=dy),
        lambda: _bias_gradient(site, dy),
    )


def _conv_transpose(site: Site, dy: ir.Value) -> Grads:
    """The transpose of a convolution from y to x, so x and y change places."""
    attributes = site.node.attributes
    if attributes.get_string("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in attributes:
        raise site.refusal("it has auto_pad or output_shape; give it explicit pads")
    product = _product(site, x=site.y, y=site.x(0))
    window = product.window
    return site.each(
        lambda: site.op(
            "Conv",
            dy,
            site.x(1),
            strides=window.strides,
            dilations=window.dilations,
            pads=_pads_to_reach(site, product),
            group=product.group,
        ),
        lambda: weight_gradient(site, product, x=dy, dy=site.x(0)),
        lambda: _bias_gradient(site, dy),
    )


def _product(site: Site, x: ir.Value, y: ir.Value) -> Product:
    """Reads the convolution that takes ``x`` to ``y``."""
    weight, x_shape, y_shape = site.shape(site.x(1)), site.shape(x), site.shape(y)
    window = window_at(site, weight[2:], x_shape[2:], y_shape[2:])
    group = site.node.attributes.get_int("group", 1)
    return Product(window, group, weight, x_shape, y_shape)


def _pads_to_reach(site: Site, product: Product) -> list[int]:
    """Returns pads with which there is one output for each position of y, and none more."""
    window = product.window
    sizes = zip(product.x[2:], product.y[2:], window.strides, extent(window), strict=True)
    needed = [(n - 1) * step + length - size for size, n, step, length in sizes]
    ends = [total - begin for total, begin in zip(needed, window.begin, strict=True)]
    if any(end + step <= 0 for end, step in zip(ends, window.strides, strict=True)):
        raise site.refusal("its output_padding is not below its stride")
    return [*window.begin, *(max(0, end) for end in ends)]


def _bias_gradient(site: Site, dy: ir.Value) -> ir.Value:
    rank = len(site.shape(site.y))
    return site.sum(dy, [0, *range(2, rank)])


def _input_gradient(site: Site, dy: ir.Value, product: Product) -> ir.Value:
    window = product.window
    reach = [length - 1 for length in extent(window)]
    begin = [r - b for r, b in zip(reach, window.begin, strict=True)]
    end = [r - e for r, e in zip(reach, window.end, strict=True)]
    if any(step != 1 for step in window.strides) or min(*begin, *end) < 0:
        return spread_back(site, product, dy, site.x(1))
    return site.op(
        "Conv",
        dy,
        _flipped(site, product),
        dilations=window.dilations,
        pads=[*begin, *end],
        group=product.group,
    )


class _Sizes(NamedTuple):
    """Channels out and in of one group, and taps."""

    out: int
    into: int
    taps: int


def _flipped(site: Site, product: Product) -> ir.Value:
    """Emits the weight with its taps reversed, its channels in and out swapped in each group."""
    group, weight = product.group, product.weight
    sizes = _Sizes(weight[0] // group, weight[1], math.prod(weight[2:]))
    flat = site.reshape(site.x(1), (group, sizes.out, sizes.into, sizes.taps))
    swapped = site.transpose(flat, (0, 2, 1, 3))
    if sizes.taps > 1:
        swapped = site.op("Gather", swapped, site.ints(*reversed(range(sizes.taps))), axis=3)
    return site.reshape(swapped, (group * sizes.into, sizes.out, *weight[2:]))


RULES: Mapping[str, Rule] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
