"""One node as lint sees it: what comes in dequantized, what goes out quantized."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.conformance.finding import Finding, Severity
from onnxq.graph.packed import constant_codes
from onnxq.graph.query import weight_of
from onnxq.graph.roles import weight_channel_axis
from onnxq.plan.obstacles import data_positions
from onnxq.plan.target import OpKind

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.plan.target import OpRule, Target

__all__ = ["LAYERS", "Pair", "Site", "is_pair_node", "quantizers", "read_pair", "same_params"]

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that multiply by a weight."""

_DOMAINS = ("", "com.microsoft")
_DEFAULT_AXIS = 1


class Pair(NamedTuple):
    """What a QuantizeLinear or DequantizeLinear says.

    Attributes:
        node: The node.
        codes: The integer value that it reads or writes.
        dtype: Type of the codes; None where it cannot be told.
        scale: Its scale; None where that is computed.
        zero_point: Its zero point; None where there is none, or it is computed.
        axis: Axis that the scale runs along; None for one scale.
        block: Indices of the axis that share a scale; 0 for one each.
        stored: Constant codes, as stored; None where they are computed.
    """

    node: ir.Node
    codes: ir.Value
    dtype: ir.DataType | None
    scale: npt.NDArray[Any] | None
    zero_point: npt.NDArray[Any] | None
    axis: int | None
    block: int
    stored: npt.NDArray[Any] | None

    @property
    def asymmetric(self) -> bool:
        """Whether a zero point is known not to be 0."""
        return self.zero_point is not None and bool(np.any(self.zero_point.astype(np.int64)))


def is_pair_node(node: ir.Node | None, op_type: str = "") -> bool:
    """Says whether ``node`` quantizes or dequantizes; with ``op_type`` which of both."""
    known = (op_type,) if op_type else ("QuantizeLinear", "DequantizeLinear")
    return node is not None and node.domain in _DOMAINS and node.op_type in known


def read_pair(node: ir.Node) -> Pair:
    """Reads a QuantizeLinear or DequantizeLinear; what it lacks is unknown."""
    writes = node.op_type == "QuantizeLinear"
    read = node.inputs[0] if node.inputs else None
    codes = node.outputs[0] if writes or read is None else read
    scale = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    along = scale is not None and scale.ndim > 0 and scale.size > 1
    axis = int(node.attributes.get_int("axis", _DEFAULT_AXIS)) if along else None
    rank = None if codes.shape is None else len(codes.shape)
    if axis is not None and axis < 0 and rank is not None:
        axis += rank
    return Pair(
        node=node,
        codes=codes,
        dtype=_dtype(codes, zero, writes=writes),
        scale=scale,
        zero_point=weight_of(zero),
        axis=axis,
        block=int(node.attributes.get_int("block_size", 0)),
        stored=None if writes else constant_codes(codes),
    )


def _dtype(codes: ir.Value, zero: ir.Value | None, *, writes: bool) -> ir.DataType | None:
    if codes.dtype is not None:
        return codes.dtype
    if zero is not None and zero.dtype is not None:
        return zero.dtype
    return ir.DataType.UINT8 if writes and zero is None else None


def quantizers(value: ir.Value) -> list[ir.Node]:
    """Returns the nodes that quantize ``value``."""
    return [user for user in value.consumers() if is_pair_node(user, "QuantizeLinear")]


def same_params(first: Pair, second: Pair) -> bool:
    """Says whether two known pairs mean the same by a code."""
    if first.scale is None or second.scale is None:
        return True
    zeros = [np.zeros(1) if p.zero_point is None else p.zero_point for p in (first, second)]
    return bool(
        np.array_equal(first.scale.reshape(-1), second.scale.reshape(-1))
        and (zeros[0].astype(np.int64).reshape(-1) == zeros[1].astype(np.int64).reshape(-1)).all()
    )


@dataclass(frozen=True)
class Site:
    """A node that is judged.

    Attributes:
        node: The node; neither QuantizeLinear nor DequantizeLinear.
        target: What it is to run on.
    """

    node: ir.Node
    target: Target

    @cached_property
    def rule(self) -> OpRule | None:
        """What the target does with the operator; None = it computes in float."""
        return self.target.ops.get(self.node.op_type) if self.node.domain == "" else None

    @property
    def heavy(self) -> bool:
        """Whether it multiplies by a weight, on integers where the target can."""
        return self.rule is not None and self.rule.kind is OpKind.HEAVY

    @property
    def layer(self) -> bool:
        """Whether it multiplies by a constant weight, be it stored as codes or not."""
        return (
            self.node.domain == ""
            and self.node.op_type in LAYERS
            and (self.weight is not None or weight_of(self.input_at(1)) is not None)
        )

    def input_at(self, position: int) -> ir.Value | None:
        """Returns an input, None where the node has none there."""
        return self.node.inputs[position] if position < len(self.node.inputs) else None

    def pair_at(self, position: int) -> Pair | None:
        """Returns the DequantizeLinear that an input comes from, None if it comes from none."""
        value = self.input_at(position)
        producer = value.producer() if value is not None else None
        return (
            read_pair(producer)
            if producer and is_pair_node(producer) and _whole(producer)
            else None
        )

    @cached_property
    def data(self) -> list[tuple[ir.Value, Pair | None]]:
        """The activations that the operator reads, with where they are dequantized."""
        if self.rule is None:
            positions = list(range(len(self.node.inputs)))
        else:
            positions = [
                p for p in data_positions(self.node, self.rule) if p < len(self.node.inputs)
            ]
        found = []
        for position in positions:
            value = self.input_at(position)
            if value is None or weight_of(value) is not None:
                continue
            pair = self.pair_at(position)
            if pair is None and value.dtype not in (None, ir.DataType.FLOAT, ir.DataType.FLOAT16):
                continue
            if pair is not None and pair.stored is not None:
                continue
            found.append((value, pair))
        return found

    @cached_property
    def weight(self) -> Pair | None:
        """Where the second operand is dequantized, if its codes, or their source, are constant."""
        pair = self.pair_at(1)
        if pair is None or pair.stored is not None:
            return pair
        maker = pair.codes.producer()
        constant = is_pair_node(maker, "QuantizeLinear") and weight_of(maker.inputs[0]) is not None  # type: ignore[union-attr]
        return pair if constant else None

    @property
    def reads_codes(self) -> bool:
        """Whether any activation comes in dequantized."""
        return any(pair is not None for _, pair in self.data)

    @cached_property
    def written(self) -> ir.Value:
        """The output, or that of the Relu or Clip which alone reads it and runs in its kernel."""
        value = self.node.outputs[0]
        users = value.consumers()
        if len(users) != 1 or value.is_graph_output():
            return value
        rule = self.target.ops.get(users[0].op_type) if users[0].domain == "" else None
        return users[0].outputs[0] if rule is not None and rule.vanishes else value

    @cached_property
    def output_axis(self) -> int:
        """The axis of a layer's weight that runs along its output channels."""
        if self.node.op_type == "MatMul" and self.weight is not None:
            stored = self.weight.stored
            if stored is not None:
                return stored.ndim - 1
            if self.weight.codes.shape is None:
                return 1
            return len(self.weight.codes.shape) - 1
        return weight_channel_axis(self.node)

    def finding(self, rule: str, severity: Severity, text: str, mend: str) -> Finding:
        """Returns a finding at this node."""
        return Finding(rule, severity, label(self.node), self.node.op_type, text, mend)


def label(node: ir.Node) -> str:
    """Returns a name by which a user finds ``node``: its own, or its first output's."""
    return node.name or str(node.outputs[0].name or node.op_type)


def _whole(node: ir.Node) -> bool:
    return len(node.inputs) > 1 and node.inputs[0] is not None and node.inputs[1] is not None
