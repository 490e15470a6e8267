"""Windows over the spatial axes of an array: where they lie, and what their taps read."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnxq.reference.call import Call
    from onnxq.reference.integers import Array

    Ints = tuple[int, ...]

__all__ = ["output_sizes", "taps", "window"]


def window(call: Call, kernel: Ints, sizes: Ints) -> Window:
    """Returns where a node with the usual attributes of convolutions looks.

    Args:
        call: The node.
        kernel: Taps per spatial axis.
        sizes: Input positions per spatial axis.
    """
    ones = (1,) * len(kernel)
    strides = call.numbers("strides") or ones
    dilations = call.numbers("dilations") or ones
    automatic = call.text("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        totals = []
        for size, k, step, d in zip(sizes, kernel, strides, dilations, strict=True):
            totals.append(max(0, (-(-size // step) - 1) * step + (k - 1) * d + 1 - size))
        small = tuple(total // 2 for total in totals)
        large = tuple(total - half for total, half in zip(totals, small, strict=True))
        begin, end = (small, large) if automatic == "SAME_UPPER" else (large, small)
        return Window(kernel, strides, dilations, begin, end)
    pads = call.numbers("pads") if automatic == "NOTSET" else None
    pads = pads or (0,) * 2 * len(kernel)
    return Window(kernel, strides, dilations, pads[: len(kernel)], pads[len(kernel) :])


def output_sizes(window: Window, sizes: Ints, *, ceil: bool = False) -> Ints:
    """Returns the number of output positions per spatial axis.

    Args:
        window: Where they look.
        sizes: Input positions per spatial axis.
        ceil: Whether a window may reach beyond the padding behind; none begins there.
    """
    counts = []
    for size, slack, step, begin in zip(
        sizes, window.slack, window.strides, window.begin, strict=True
    ):
        span = size - 1 + slack
        count = (-(-span // step) if ceil else span // step) + 1
        if ceil and (count - 1) * step >= size + begin:
            count -= 1
        counts.append(count)
    return tuple(counts)


def taps(x: Array, window: Window, outputs: Ints, fill: float) -> Iterator[tuple[Ints, Array]]:
    """Yields what each tap reads at all output positions.

    Args:
        x: [N, C, spatial…].
        window: Where it looks.
        outputs: Output positions per spatial axis.
        fill: What lies beyond the border.

    Yields:
        The tap's place in the kernel, and [N, C, outputs…], a view.
    """
    sizes = x.shape[2:]
    borders = [(0, 0), (0, 0)]
    for axis, size in enumerate(sizes):
        last = (outputs[axis] - 1) * window.strides[axis]
        reach = last + (window.kernel[axis] - 1) * window.dilations[axis] + 1
        borders.append((window.begin[axis], max(0, reach - size - window.begin[axis])))
    padded = np.pad(x, borders, constant_values=fill) if any(map(any, borders)) else x
    for place in product(*map(range, window.kernel)):
        cut = [slice(None), slice(None)]
        for axis, tap in enumerate(place):
            first, step = tap * window.dilations[axis], window.strides[axis]
            cut.append(slice(first, first + (outputs[axis] - 1) * step + 1, step))
        yield place, padded[tuple(cut)]
