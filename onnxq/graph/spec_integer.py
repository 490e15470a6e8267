"""What a legal integer-only model is: proven by its types, its constants and intervals.

Quantization and dequantization nodes are the declared borders. Between them

1. every value is an integer: no node that reads integers writes float, but for the borders;
2. nothing comes back: no float that was computed from integers is quantized again or computed with
   integers;
3. no number leaves its type, whatever the inputs: sums and products fit, casts lose nothing,
   indices exist (``onnxq.graph.intervals``);
4. no 16-bit pair of products saturates on machines without VNNI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from onnxq.errors import ModelError
from onnxq.graph.interval_rules import MOVES, RULES, Known
from onnxq.graph.intervals import Interval, UnprovenError, of_type
from onnxq.graph.query import is_op, read_values
from onnxq.graph.roles import is_constant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["IntegerProof", "check_integer", "prove_integer"]

_BORDERS = ("QuantizeLinear", "DequantizeLinear")
# What float layers hold may also be of integer type: shapes and indices are no codes.
_CODES = (ir.DataType.UINT8, ir.DataType.INT8)


@dataclass(frozen=True)
class IntegerProof:
    """What was found.

    Attributes:
        violations: What breaks a rule, each in one line that names the node; empty = proven.
        quantize: Names of the nodes where integers begin.
        dequantize: Names of those where they end.
        nodes: Number of nodes in between.
        largest: Greatest magnitude that any of their numbers can take.
    """

    violations: tuple[str, ...]
    quantize: tuple[str, ...]
    dequantize: tuple[str, ...]
    nodes: int
    largest: int


def check_integer(model: ir.Model) -> None:
    """Raises :class:`ModelError` with the first violation of :func:`prove_integer`."""
    found = prove_integer(model).violations
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ModelError(f"the model is not integer-only: {found[0]}{more}")


def prove_integer(model: ir.Model) -> IntegerProof:
    """Proves that a model is integer-only between its borders; see the module's rules.

    Args:
        model: Any model; it stays as it is.
    """
    shaped = common_passes.ShapeInferencePass()(model.clone()).model
    walk = _Walk()
    for value in shaped.graph.inputs:
        if value.dtype in _CODES:
            walk.codes[value] = of_type(value.dtype)
    violations = [line for node in shaped.graph for line in walk.visit(node)]
    if not walk.nodes and not violations:
        violations = ["no node of it computes with quantized values"]
    return IntegerProof(
        tuple(violations), tuple(walk.quantize), tuple(walk.dequantize), walk.nodes, walk.largest
    )


class _Walk:
    """The values met so far, in topological order."""

    def __init__(self) -> None:
        self.codes: dict[ir.Value, Interval] = {}
        self.left: set[ir.Value] = set()
        self.quantize: list[str] = []
        self.dequantize: list[str] = []
        self.nodes = 0
        self.largest = 0

    def visit(self, node: ir.Node) -> Iterator[str]:
        """Yields what is wrong with one node."""
        read = [value for value in read_values(node) if not is_constant(value)]
        coded = [value for value in read if value in self.codes]
        left = [value for value in read if value in self.left]
        if is_op(node, "QuantizeLinear"):
            yield from self._enter(node, left)
        elif is_op(node, "DequantizeLinear") and coded:
            self.dequantize.append(str(node.name))
            self.left.update(node.outputs)
        elif coded:
            yield from self._compute(node, left)
        elif left:
            self.left.update(node.outputs)

    def _enter(self, node: ir.Node, left: list[ir.Value]) -> Iterator[str]:
        if left:
            yield (
                f"node '{node.name}' (QuantizeLinear) brings '{left[0].name}', a float that was"
                " computed from integers, back to integers"
            )
        self.quantize.append(str(node.name))
        out = node.outputs[0]
        self.codes[out] = of_type(out.dtype or ir.DataType.UINT8)

    def _compute(self, node: ir.Node, left: list[ir.Value]) -> Iterator[str]:
        self.nodes += 1
        place = f"node '{node.name}' ({node.op_type})"
        if left:
            yield f"{place} computes with integers and with the float '{left[0].name}'"
        reals = [v for v in (*node.inputs, *node.outputs) if v is not None and _is_float(v)]
        if reals:
            kind = "constant" if is_constant(reals[0]) else "value"
            yield f"{place} reads integers and has the float {kind} '{reals[0].name}'"
        for out in node.outputs:
            if not _is_float(out):
                yield from self._bound(node, out, place)
            else:
                self.left.add(out)

    def _bound(self, node: ir.Node, out: ir.Value, place: str) -> Iterator[str]:
        """Rules 3 and 4."""
        try:
            found = _proven(node, out, self.codes)
        except UnprovenError as reason:
            yield f"{place}: {reason}"
            found = Interval.of(0, 0) if out.dtype is None else of_type(out.dtype)
        self.codes[out] = found
        self.largest = max(self.largest, abs(found.least), abs(found.greatest))


def _proven(node: ir.Node, out: ir.Value, codes: Mapping[ir.Value, Interval]) -> Interval:
    """Returns what ``out`` can hold; raises UnprovenError where that is not sure to fit."""
    rule = RULES.get(node.op_type) or MOVES.get(node.op_type)
    if out.dtype is None:
        raise UnprovenError("its type is not known")
    if rule is None or node.domain:
        raise UnprovenError("the proof knows no such operator")
    found = rule(Known(node, codes))
    if not found.within(of_type(out.dtype)):
        ends = f"{found.least} to {found.greatest}"
        raise UnprovenError(f"its numbers reach from {ends}, beyond {out.dtype}")
    return found


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()
