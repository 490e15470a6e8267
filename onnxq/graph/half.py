"""Which inputs and outputs of a node may be half precision, by ONNX's own type constraints."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import onnx
import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HALF_MOST", "HalfPlaces", "half_places"]

HALF_MOST = 65504.0
"""The greatest number of half precision."""

_HALF, _FLOAT = "tensor(float16)", "tensor(float)"
# Their results have the type that an attribute or a scale says.
_TYPED = frozenset(
    {
        "Cast",
        "CastLike",
        "Constant",
        "ConstantOfShape",
        "DequantizeLinear",
        "EyeLike",
        "QuantizeLinear",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)


class HalfPlaces(NamedTuple):
    """Positions of a node whose type becomes float16 where it computes in half precision.

    Attributes:
        inputs: Of its inputs.
        outputs: Of its outputs.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def half_places(node: ir.Node, opset: int) -> HalfPlaces | None:
    """Returns where ``node`` reads and writes float32 that may be float16.

    Args:
        node: Any node.
        opset: Of the standard operators.

    Returns:
        The positions; None if it has to compute in float32: it is no standard operator, has a
        subgraph, or no kernel for half precision is asked of a runtime by ONNX.
    """
    if node.domain != "" or node.op_type in _TYPED:
        return None
    if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in _attributes(node)):
        return None
    found = _types(node.op_type, opset)
    if found is None:
        return None
    inputs, outputs = found
    return HalfPlaces(_places(node.inputs, inputs), _places(node.outputs, outputs))


def _attributes(node: ir.Node) -> list[ir.Attr]:
    return [a for a in node.attributes.values() if not a.is_ref()]


def _places(values: Sequence[ir.Value | None], may: tuple[bool, ...]) -> tuple[int, ...]:
    """A parameter that is the last may stand for many."""
    return tuple(
        i
        for i, value in enumerate(values)
        if value is not None
        and value.dtype == ir.DataType.FLOAT
        and may
        and may[min(i, len(may) - 1)]
    )


@cache
def _types(op_type: str, opset: int) -> tuple[tuple[bool, ...], tuple[bool, ...]] | None:
    """Returns for each formal input and output whether it takes both float32 and float16."""
    try:
        schema = onnx.defs.get_schema(op_type, opset)
    except onnx.defs.SchemaError:
        return None
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    both = {name for name, types in allowed.items() if {_HALF, _FLOAT} <= types}
    inputs = tuple(p.type_str in both for p in schema.inputs)
    outputs = tuple(p.type_str in both for p in schema.outputs)
    return (inputs, outputs) if any(inputs) and any(outputs) else None
