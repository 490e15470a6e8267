"""The gradient of a convolution by its weight, as the products that onnxruntime runs fast.

With x [N, C, *S], dy [N, O, *P], G groups and a weight [O, C / G, *K], dW sums x · dy over N and P:

1. one tap: a product of matrices [O / G, P] x [P, C / G] per sample and group, summed over N;
2. more taps: the same with patches [N, C · K, P], which a depthwise convolution with a one-hot
   weight cuts out of x. For depthwise weights as well, this takes half the time or less of what
   is often done, a convolution of x with dy as its weight;
3. one group, few positions (P · (O + C · K) < O · C · K): both transposed to [N · P, ·], and one
   Gemm, which spares the buffer of N gradients.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.autodiff.geometry import Product
    from onnxq.autodiff.site import Site

__all__ = ["weight_gradient"]


def weight_gradient(site: Site, product: Product, *, x: ir.Value, dy: ir.Value) -> ir.Value:
    """Emits dW, of the weight's shape.

    Args:
        site: The node.
        product: The convolution.
        x: What the convolution reads.
        dy: The cotangent of what it gives.
    """
    columns = _columns(site, product, x)
    samples, out = product.y[:2]
    positions = math.prod(product.y[2:])
    group, rows = product.group, math.prod(product.weight[1:])
    if group == 1 and samples > 1 and positions * (out + rows) < out * rows:
        flat = [
            _by_position(site, value, (samples, width, positions))
            for value, width in ((dy, out), (columns, rows))
        ]
        return site.reshape(site.op("Gemm", *flat, transA=1), product.weight)
    left = site.reshape(dy, (samples, group, out // group, positions))
    right = site.reshape(columns, (samples, group, rows, positions))
    each = site.op("MatMul", left, site.transpose(right, (0, 1, 3, 2)))
    return site.reshape(site.sum(each, [0]) if samples > 1 else each, product.weight)


def _by_position(site: Site, value: ir.Value, shape: tuple[int, int, int]) -> ir.Value:
    """Emits [N, C, P] as [N · P, C]."""
    samples, width, positions = shape
    swapped = site.transpose(site.reshape(value, shape), (0, 2, 1))
    return site.reshape(swapped, (samples * positions, width))


def _columns(site: Site, product: Product, x: ir.Value) -> ir.Value:
    """Emits what the taps read: [N, C · K, *P]."""
    window, channels = product.window, product.x[1]
    rank = len(window.kernel)
    taps = math.prod(window.kernel)
    if taps > 1 or any((*window.begin, *window.end)):
        hot = np.tile(np.eye(taps), (channels, 1)).reshape(channels * taps, 1, *window.kernel)
        return site.op(
            "Conv",
            x,
            site.array(hot),
            strides=window.strides,
            dilations=window.dilations,
            pads=[*window.begin, *window.end],
            group=channels,
        )
    if all(step == 1 for step in window.strides):
        return x
    axes = range(2, 2 + rank)
    ends = [product.x[axis] for axis in axes]
    return site.op(
        "Slice", x, site.ints(*(0,) * rank), site.ints(*ends), site.ints(*axes),
        site.ints(*window.strides),
    )  # fmt: skip
