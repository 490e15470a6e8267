"""What is known of a graph's atoms (:mod:`onnxq.graph.channel_cells`) while its nodes are read.

The labels of a value say which atom each of its numbers belongs to: int64, the value's rank, of
size 1 along every axis on which they do not depend. A feature map [N, C, H, W] has labels [1, C, 1,
1]; a value without labels keeps the order of all its axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.channel_cells import ChannelCells
from onnxq.graph.query import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    Indices = npt.NDArray[np.int64]
    Labels = Indices | None
    Rule = Callable[[ir.Node, "TraceBook"], "Sequence[Labels] | str"]

__all__ = ["LabelledLayer", "LabelledParameter", "TraceBook", "along", "ranked"]


class LabelledLayer(NamedTuple):
    """A linear layer with a weight of its own.

    Attributes:
        node: Conv, ConvTranspose, Gemm or MatMul.
        reads: The atoms of its input channels, int64 [in_channels]; None if it reads no labels.
        writes: Those of its output channels, int64 [out_channels].
        group: Number of channel groups.
    """

    node: ir.Node
    reads: Labels
    writes: Indices
    group: int


class LabelledParameter(NamedTuple):
    """A constant that goes with the channels of a value.

    Attributes:
        node: Who reads it.
        position: As which input.
        labels: The atoms that its numbers go with, of a shape that broadcasts with it.
    """

    node: ir.Node
    position: int
    labels: Indices


class TraceBook:
    """Labels of values, and the weights that run along them."""

    def __init__(self) -> None:
        self.cells = ChannelCells()
        self.labels: dict[ir.Value, Indices] = {}
        self.layers: list[LabelledLayer] = []
        self.parameters: list[LabelledParameter] = []

    def of(self, value: ir.Value | None) -> Labels:
        """Returns the labels of a value, None for none."""
        return None if value is None else self.labels.get(value)

    def enter(self, value: ir.Value, labels: Indices) -> None:
        """Gives a value its labels; how often it holds an atom is part of the atom's colour."""
        self.labels[value] = labels
        self.cells.mark(*np.unique(labels, return_counts=True))

    def follow(self, *labels: Indices) -> Indices:
        """Returns the labels of what is computed number by number from values with ``labels``."""
        made = self.cells.fresh(np.broadcast_shapes(*(item.shape for item in labels)))
        self.cells.link(made, *labels)
        return made

    def keep_apart(self, labels: Indices, axes: Sequence[int]) -> None:
        """Lets atoms change places only with those at the same index of ``axes``."""
        sizes = [size if axis in axes else 1 for axis, size in enumerate(labels.shape)]
        self.cells.mark(labels, np.arange(int(np.prod(sizes))).reshape(sizes))


def along(labels: Labels, axis: int) -> Labels:
    """Returns labels that depend on one axis alone as a vector; None if they are of another kind.

    Args:
        labels: Of a value; None for none.
        axis: Negative from the end.
    """
    if labels is None or labels.size != labels.shape[axis]:
        return None
    return labels.reshape(-1)


def ranked(
    value: ir.Value | None, labels: Labels, rank: int
) -> tuple[Indices, tuple[int | None, ...]]:
    """Returns labels and shape of an operand as broadcasting to ``rank`` sees them.

    A value without labels or with an unknown shape counts as [0] along all axes, of unknown size.
    """
    shape = shape_of(value) or ()
    known = value is not None and value.shape is not None
    sizes = (*[1 if known else None] * (rank - len(shape)), *shape)
    array = np.zeros([1] * rank, np.int64) if labels is None else labels
    return array.reshape([1] * (rank - array.ndim) + list(array.shape)), sizes
