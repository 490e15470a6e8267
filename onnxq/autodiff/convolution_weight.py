"""The gradient of a convolution by its weight, as the products that onnxruntime runs fast.

With x [N, C, *S], dy [N, O, *P] and a weight [O, C / group, *K], dW sums x · dy over N and P:

1. one tap, one group: a product of matrices [O, P] x [P, C] per sample, summed over N;
2. more taps, one group: the same with patches [N, C · K, P], which a depthwise convolution with a
   one-hot weight cuts out of x;
3. few positions (P · (O + C) < O · C): both transposed to [N · P, ·], and one Gemm, which spares
   the buffer of N gradients;
4. one channel per group: one convolution of x, seen as [1, N · C, *S], with dy as its weight, the
   strides and dilations swapped;
5. other groups: the same with samples as the channels of a group.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnxq.autodiff.geometry import extent

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
    if product.group > 1:
        depthwise = product.weight[1] == 1
        return (_depthwise if depthwise else _grouped)(site, product, x, dy)
    rows = math.prod(product.weight[1:])
    columns = _columns(site, product, x)
    return site.reshape(_matrix(site, product, columns, rows, dy), product.weight)


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


def _matrix(site: Site, product: Product, columns: ir.Value, rows: int, dy: ir.Value) -> ir.Value:
    """Emits Σ_N dy [O, P] · columnsᵀ [P, rows]."""
    samples, out = product.y[:2]
    positions = math.prod(product.y[2:])
    left = site.reshape(dy, (samples, out, positions))
    right = site.reshape(columns, (samples, rows, positions))
    if samples > 1 and positions * (out + rows) < out * rows:
        flat = [
            site.reshape(site.transpose(value, (0, 2, 1)), (samples * positions, width))
            for value, width in ((left, out), (right, rows))
        ]
        return site.op("Gemm", *flat, transA=1)
    each = site.op("MatMul", left, site.transpose(right, (0, 2, 1)))
    return site.sum(each, [0]) if samples > 1 else each


def _depthwise(site: Site, product: Product, x: ir.Value, dy: ir.Value) -> ir.Value:
    samples, channels = product.x[:2]
    out = product.y[1]
    wide = site.reshape(x, (1, samples * channels, *product.x[2:]))
    kernel = site.reshape(dy, (samples * out, 1, *product.y[2:]))
    taps = _correlate(site, product, wide, kernel, samples * channels)
    each = site.reshape(taps, (samples, *product.weight))
    return site.sum(each, [0]) if samples > 1 else site.reshape(taps, product.weight)


def _grouped(site: Site, product: Product, x: ir.Value, dy: ir.Value) -> ir.Value:
    group, inner, samples = product.group, product.weight[1], product.x[0]
    axes = range(3, 3 + len(product.window.kernel))
    wide = site.reshape(x, (samples, group, inner, *product.x[2:]))
    wide = site.transpose(wide, (2, 1, 0, *axes))
    wide = site.reshape(wide, (inner, group * samples, *product.x[2:]))
    kernel = site.transpose(dy, (1, 0, *(axis - 1 for axis in axes)))
    taps = _correlate(site, product, wide, kernel, group)
    return site.transpose(taps, (1, 0, *(axis - 1 for axis in axes)))


def _correlate(site: Site, product: Product, x: ir.Value, kernel: ir.Value, group: int) -> ir.Value:
    """Emits the convolution of x with dy as its weight: one output per tap along each axis."""
    window, rank = product.window, len(product.window.kernel)
    axes = list(zip(extent(window), window.strides, product.y[2:], product.x[2:], strict=True))
    needed = [length + (n - 1) * step - size for length, step, n, size in axes]
    end = [max(0, total - begin) for total, begin in zip(needed, window.begin, strict=True)]
    found = site.op(
        "Conv",
        x,
        kernel,
        strides=window.dilations,
        dilations=window.strides,
        pads=[*window.begin, *end],
        group=group,
    )
    if all(total >= begin for total, begin in zip(needed, window.begin, strict=True)):
        return found
    # positions that no window reaches give taps that there are not
    return site.op(
        "Slice", found, site.ints(*(0,) * rank), site.ints(*window.kernel),
        site.ints(*range(2, 2 + rank)),
    )  # fmt: skip
