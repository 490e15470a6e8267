"""Where a window of a convolution or pooling looks, for inputs of known size."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.window import Window

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.autodiff.site import Site

    Shape = tuple[int, ...]

__all__ = ["Product", "extent", "spread_back", "window_at"]


class Product(NamedTuple):
    """A convolution from x to y.

    Attributes:
        window: Where it looks.
        group: Number of groups.
        weight: Shape of its weight, [O, C / group, *kernel].
        x: Shape of what it reads, [N, C, *sizes].
        y: Shape of what it gives, [N, O, *sizes].
    """

    window: Window
    group: int
    weight: Shape
    x: Shape
    y: Shape


def extent(window: Window) -> Shape:
    """Returns how far a window reaches along each axis, first and last tap included."""
    return tuple((k - 1) * d + 1 for k, d in zip(window.kernel, window.dilations, strict=True))


def window_at(site: Site, kernel: Shape, x: Shape, y: Shape) -> Window:
    """Reads strides, dilations and padding of a Conv or a pooling.

    Args:
        site: The node.
        kernel: Taps per spatial axis.
        x: Spatial sizes of the input.
        y: Spatial sizes of the output.
    """
    rank = len(kernel)
    strides = site.ints_attribute("strides") or (1,) * rank
    dilations = site.ints_attribute("dilations") or (1,) * rank
    pads = site.ints_attribute("pads") or (0,) * 2 * rank
    bare = Window(kernel, strides, dilations, (0,) * rank, (0,) * rank)
    automatic = site.node.attributes.get_string("auto_pad", "NOTSET")
    if automatic == "VALID":
        return bare
    if automatic == "NOTSET":
        return bare._replace(begin=pads[:rank], end=pads[rank:])
    reach = zip(extent(bare), strides, x, y, strict=True)
    totals = [max(0, (n - 1) * step + length - size) for length, step, size, n in reach]
    small = tuple(total // 2 for total in totals)
    large = tuple(total - half for total, half in zip(totals, small, strict=True))
    begin, end = (small, large) if automatic == "SAME_UPPER" else (large, small)
    return bare._replace(begin=begin, end=end)


def spread_back(site: Site, product: Product, dy: ir.Value, weight: ir.Value) -> ir.Value:
    """Emits the ConvTranspose that takes dy back to what the convolution reads.

    Args:
        site: The node.
        product: The convolution.
        dy: Of the shape of ``product.y``.
        weight: As the convolution reads it.

    Returns:
        A value of the shape of ``product.x``.
    """
    window = product.window
    full = [
        (n - 1) * step + length
        for n, step, length in zip(product.y[2:], window.strides, extent(window), strict=True)
    ]
    # what the windows do not reach at the end is added, what they reach beyond is cut
    over = [f - b - size for f, b, size in zip(full, window.begin, product.x[2:], strict=True)]
    missing = [max(0, -beyond) for beyond in over]
    return site.op(
        "ConvTranspose",
        dy,
        weight,
        strides=window.strides,
        dilations=window.dilations,
        pads=[*window.begin, *(max(0, beyond) for beyond in over)],
        output_padding=missing if any(missing) else None,
        group=product.group,
    )
