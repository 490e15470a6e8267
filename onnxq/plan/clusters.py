"""Values whose outlier channels are quantized, read and added apart from the others.

A reader y = W x of such a value becomes a sum over clusters K of the channels,

    y  =  Σ_K  W[:, K] · x[K],        each x[K] and W[:, K] with scales of its own.

The largest cluster, the *rest*, is what the value and its weights themselves are planned as: its
reader keeps all channels, with columns of zeros where other clusters' channels are (these saturate
in the rest's narrow range, times zero). So the channels need no order, and only the few outliers
are picked out at run time: a product of 197 × 256 × 256 takes 0.20 ms whole, 0.26 ms like this, and
0.64 ms where a Gather picks the rest too. Where they lie side by side (reorder-channels puts them
so), a Split may pick them (``onnxq.graph.partial_sums``).

This stands in the plan and not in the float model: a rewrite would have
to run after the statistics, which are of the model as it was, and the integer kernels that pick
channels (Gather, Split) would tie the clusters to one scale again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import weight_of
from onnxq.graph.roles import attribute, weight_channel_axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import ValuePlan

__all__ = ["Cluster", "ClusterSplit", "columns_of", "input_axis", "without_columns"]

_KINDS = ("Conv", "Gemm", "MatMul")
_MATRIX = 2


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Some channels of a value.

    Attributes:
        channels: int64 [k], ascending. Copied and made read-only.
        value: How these channels are quantized, with one scale.
        weights: Name of each node that reads the value → how those columns of its weight are.
    """

    channels: npt.NDArray[np.int64]
    value: ValuePlan
    weights: Mapping[str, ValuePlan]

    def __post_init__(self) -> None:
        channels = np.array(self.channels, np.int64)
        channels.flags.writeable = False
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))


@dataclass(frozen=True, slots=True, eq=False)
class ClusterSplit:
    """What is taken out of a value.

    Attributes:
        parts: The clusters beside the rest.
        sums: Name of a node that reads the value → how each of its partial sums is quantized: a
            convolution on integers writes codes. Absent = partial sums are float.
    """

    parts: tuple[Cluster, ...]
    sums: Mapping[str, ValuePlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sums", MappingProxyType(dict(self.sums)))

    @property
    def taken(self) -> npt.NDArray[np.int64]:
        """The channels of all parts, int64."""
        return np.concatenate([part.channels for part in self.parts])


def input_axis(node: ir.Node) -> int | None:
    """Returns the axis of the weight that runs along the channels that ``node`` reads.

    None where the node's sum cannot be split by channels: it must be a Conv of one group, a Gemm or
    a MatMul with a constant weight.
    """
    weight = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.op_type not in _KINDS or weight is None:
        return None
    if node.op_type == "Conv":
        return 1 if int(attribute(node, "group", 1)) == 1 else None
    return 1 - weight_channel_axis(node) if weight.ndim == _MATRIX else None


def columns_of(
    node: ir.Node, weight: npt.NDArray[np.float32], channels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Returns the part of a weight that multiplies ``channels``."""
    axis = input_axis(node)
    assert axis is not None, "the check stage refuses to split others"
    return np.take(weight, channels, axis)


def without_columns(
    node: ir.Node, codes: npt.NDArray[np.integer], channels: npt.NDArray[np.int64]
) -> npt.NDArray[np.integer]:
    """Returns the codes of a weight with 0 where ``channels`` are multiplied."""
    axis = input_axis(node)
    assert axis is not None, "the check stage refuses to split others"
    kept = codes.copy()
    kept[(slice(None),) * axis + (channels,)] = 0
    return kept
