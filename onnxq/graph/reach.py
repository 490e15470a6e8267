"""What each output of a convolution reads, seen alike for Conv and ConvTranspose."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.window import window_of

if TYPE_CHECKING:
    import onnx_ir as ir

    Ints = tuple[int, ...]

__all__ = ["Reach", "reach_of"]


class Reach(NamedTuple):
    """Geometry of a convolution, one entry per spatial axis.

    At output position o, tap j reads input position (o · steps + offsets[j]) / spread. What is no
    whole number or lies beyond the border reads as zero.

    Attributes:
        steps: From one output to the next.
        offsets: Of each tap.
        spread: Distance of inputs.
        slack: For n inputs there are ((n - 1) · spread + slack) // steps + 1 outputs.
    """

    steps: Ints
    offsets: tuple[Ints, ...]
    spread: Ints
    slack: Ints

    def outputs(self, inputs: Ints) -> Ints:
        """Returns the output's size for the input's, spatial axes only."""
        axes = zip(inputs, self.spread, self.slack, self.steps, strict=True)
        return tuple(
            max(0, ((n - 1) * apart + slack) // step + 1) for n, apart, slack, step in axes
        )


def reach_of(node: ir.Node) -> Reach | str:
    """Reads a Conv or ConvTranspose with a constant weight.

    Returns:
        The geometry, or the reason why it is not known.
    """
    if node.op_type == "ConvTranspose":
        return _transposed(node)
    window = window_of(node)
    if isinstance(window, str):
        return window
    offsets = tuple(window.offsets(axis) for axis in range(len(window.kernel)))
    return Reach(window.strides, offsets, (1,) * len(window.kernel), window.slack)


def _transposed(node: ir.Node) -> Reach | str:
    """What a Conv with this weight reads of a position is where it writes to here."""
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    if automatic not in ("NOTSET", "VALID") or "output_shape" in node.attributes:
        return "it pads by the size of its output"
    window = window_of(node)
    if isinstance(window, str):
        return window
    axes = range(len(window.kernel))
    more = node.attributes.get_ints("output_padding", None) or (0,) * len(axes)
    offsets = tuple(tuple(-offset for offset in window.offsets(axis)) for axis in axes)
    slack = tuple(added - missing for added, missing in zip(more, window.slack, strict=True))
    return Reach((1,) * len(axes), offsets, window.strides, slack)
