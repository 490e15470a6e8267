"""Where a convolution looks: kernel, steps and padding, with the defaults filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.query import shape_of, weight_of

if TYPE_CHECKING:
    import onnx_ir as ir

    Ints = tuple[int, ...]

__all__ = ["Window", "window_of"]


class Window(NamedTuple):
    """Geometry of a Conv, one number per spatial axis.

    At output position o, tap j reads input position o · stride - begin + j · dilation. What lies
    beyond the border reads as zero.

    Attributes:
        kernel: Number of taps.
        strides: Input positions from one output to the next.
        dilations: Input positions from one tap to the next.
        begin: Zeros put in front.
        end: Zeros put behind.
    """

    kernel: Ints
    strides: Ints
    dilations: Ints
    begin: Ints
    end: Ints

    @property
    def slack(self) -> Ints:
        """For n inputs there are (n - 1 + slack) // stride + 1 outputs."""
        taps = zip(self.begin, self.end, self.kernel, self.dilations, strict=True)
        return tuple(b + e - (k - 1) * d for b, e, k, d in taps)

    def offsets(self, axis: int) -> Ints:
        """Returns where the taps along ``axis`` read, relative to o · stride."""
        step = self.dilations[axis]
        return tuple(j * step - self.begin[axis] for j in range(self.kernel[axis]))


def window_of(node: ir.Node) -> Window | str:
    """Reads a Conv with a constant weight.

    Returns:
        The window, or the reason why it is not known: automatic padding with strides depends on
        the size of the input, which has to be static then.
    """
    weight = weight_of(node.inputs[1])
    if weight is None:
        return "its weight is not constant"
    kernel = tuple(int(size) for size in weight.shape[2:])
    ones = (1,) * len(kernel)
    strides = _ints(node, "strides", ones)
    dilations = _ints(node, "dilations", ones)
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        totals = _same(node, Window(kernel, strides, dilations, (), ()))
        if totals is None:
            return "it pads automatically, and the size of its input is not static"
        small = tuple(total // 2 for total in totals)
        large = tuple(total - half for total, half in zip(totals, small, strict=True))
        sides = (small, large) if automatic == "SAME_UPPER" else (large, small)
        return Window(kernel, strides, dilations, *sides)
    pads = (0,) * 2 * len(kernel)
    if automatic != "VALID":
        pads = _ints(node, "pads", pads)
    return Window(kernel, strides, dilations, pads[: len(kernel)], pads[len(kernel) :])


def _same(node: ir.Node, window: Window) -> Ints | None:
    """Returns how much is padded so that there are ceil(inputs / stride) outputs."""
    shape = shape_of(node.inputs[0])
    sizes = (None,) * len(window.kernel) if shape is None else shape[2:]
    totals = []
    for size, k, step, d in zip(
        sizes, window.kernel, window.strides, window.dilations, strict=True
    ):
        reach = (k - 1) * d
        if step == 1:
            totals.append(reach)
        elif size is None:
            return None
        else:
            totals.append(max(0, (-(-size // step) - 1) * step + reach + 1 - size))
    return tuple(totals)


def _ints(node: ir.Node, name: str, default: Ints) -> Ints:
    return tuple(node.attributes.get_ints(name, default) or default)
