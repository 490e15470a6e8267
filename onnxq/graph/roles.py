"""What a node's inputs are: activations or weights, and what work the node does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "attribute",
    "conv_kind",
    "is_activation",
    "is_constant",
    "reaches",
    "weight_channel_axis",
]

_STEM_CHANNELS = 4


def is_constant(value: ir.Value | None) -> bool:
    """Returns whether ``value`` is a weight: data in the file that no caller can override."""
    return value is not None and value.const_value is not None and not value.is_graph_input()


def is_activation(value: ir.Value | None) -> bool:
    """Returns whether ``value`` is a float value that depends on the inputs."""
    return value is not None and not is_constant(value) and value.dtype == ir.DataType.FLOAT


def attribute(node: ir.Node, name: str, default: Any) -> Any:  # noqa: ANN401 - any attribute type
    """Returns an attribute's value, ``default`` where the node has none of that name."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def conv_kind(node: ir.Node) -> str:
    """Returns the cost class of a convolution: "stem", "depthwise", "grouped" or "dense"."""
    weight = node.inputs[1]
    assert weight is not None
    shape = weight.shape
    assert shape is not None
    group = int(attribute(node, "group", 1))
    if group > 1 and shape[1] == 1:
        return "depthwise"
    if group > 1:
        return "grouped"
    channels = shape[1]
    return "stem" if isinstance(channels, int) and channels * group <= _STEM_CHANNELS else "dense"


def weight_channel_axis(node: ir.Node) -> int:
    """Returns the axis of a heavy node's weight that runs along its output channels."""
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    if node.op_type == "MatMul":
        weight = node.inputs[1]
        assert weight is not None
        assert weight.shape is not None
        return len(weight.shape) - 1
    return 1 if node.op_type == "ConvTranspose" else 0


def output_channels(node: ir.Node) -> int:
    """Returns how many output channels a heavy node has."""
    weight = node.inputs[1]
    assert weight is not None
    assert weight.shape is not None
    groups = int(attribute(node, "group", 1)) if node.op_type == "ConvTranspose" else 1
    channels = weight.shape[weight_channel_axis(node)]
    assert isinstance(channels, int), "a constant weight has a known shape"
    return channels * groups


def reaches(nodes: Iterable[ir.Node], wanted: Mapping[str, bool]) -> set[str]:
    """Returns the names of the nodes from which a node with ``wanted[name]`` can be reached.

    Args:
        nodes: All nodes, in topological order.
        wanted: Node name → whether it is a goal. Goals count as reaching themselves.
    """
    found: set[str] = set()
    for node in reversed(list(nodes)):
        name = str(node.name)
        behind = (user for out in node.outputs for user in out.consumers())
        if wanted.get(name) or any(str(user.name) in found for user in behind):
            found.add(name)
    return found
