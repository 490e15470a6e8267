"""What integers stand for: x = scale · (code − zero_point).

The nodes next to them tell, and the metadata of a model that takes and gives codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxq.export.flat_node import input_of
from onnxq.export.io_codes import meanings
from onnxq.graph.query import is_op, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    Stated = tuple[ir.Value | None, ir.Value | None, ir.Value | None]

__all__ = ["scales"]

# Operator → positions of (codes, scale, zero point) among its inputs.
_READ = {
    "DequantizeLinear": ((0, 1, 2),),
    "QLinearConv": ((0, 1, 2), (3, 4, 5)),
    "QLinearMatMul": ((0, 1, 2), (3, 4, 5)),
}
# Operator → positions of (scale, zero point) of its output.
_WRITTEN = {"QuantizeLinear": (1, 2), "QLinearConv": (6, 7), "QLinearMatMul": (6, 7)}


def scales(model: ir.Model) -> dict[str, dict[str, Any]]:
    """Returns value name → scale, zero_point and, if these are lists, axis, for the index.

    Only constants count, and codes that nobody tells about are left out.
    """
    found = meanings(model)
    for node in model.graph:
        for codes, scale, zero_point in _stated(node):
            numbers = weight_of(scale)
            if codes is None or not codes.name or numbers is None or numbers.ndim > 1:
                continue
            zeros = weight_of(zero_point)
            entry = {
                "scale": numbers.astype("float64").tolist(),
                "zero_point": 0 if zeros is None else zeros.astype("int64").tolist(),
            }
            if numbers.ndim:
                entry["axis"] = node.attributes.get_int("axis", 1)
            found.setdefault(codes.name, entry)
    return found


def _stated(node: ir.Node) -> Iterator[Stated]:
    for positions in _READ.get(node.op_type, ()) if is_op(node, *_READ) else ():
        codes, scale, zero_point = (input_of(node, position) for position in positions)
        yield codes, scale, zero_point
    if is_op(node, *_WRITTEN):
        scale, zero_point = (input_of(node, position) for position in _WRITTEN[node.op_type])
        yield node.outputs[0], scale, zero_point
