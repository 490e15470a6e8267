"""A node as a small interpreter wants it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["FlatNode", "input_of", "plain_attributes", "steps"]

_KINDS = (
    ir.AttributeType.INT, ir.AttributeType.INTS, ir.AttributeType.STRING,
    ir.AttributeType.FLOAT, ir.AttributeType.FLOATS,
)  # fmt: skip
_LISTS = (ir.AttributeType.INTS, ir.AttributeType.FLOATS)


class FlatNode(NamedTuple):
    """A node, of one output unless it keeps its ONNX form.

    Attributes:
        operator: Its ONNX name.
        inputs: Values of the graph, arrays that go with the node, or None for what is absent.
        outputs: Values of the graph, or new ones.
        attributes: Numbers, lists of numbers, and text.
    """

    operator: str
    inputs: Sequence[ir.Value | Array | None]
    outputs: Sequence[ir.Value]
    attributes: Mapping[str, Any]


def input_of(node: ir.Node, position: int) -> ir.Value | None:
    """Returns an input; None if the node does not have it."""
    return node.inputs[position] if position < len(node.inputs) else None


def plain_attributes(node: ir.Node) -> dict[str, Any]:
    """Returns the attributes that are numbers, lists of numbers or text."""
    return {
        name: list(attribute.value) if attribute.type in _LISTS else attribute.value
        for name, attribute in node.attributes.items()
        if attribute.type in _KINDS
    }


def steps(shape: Sequence[int]) -> list[int]:
    """Returns how far the numbers of an array lie apart along each axis."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
