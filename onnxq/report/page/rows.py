"""The nodes of the model, one row each: the table of layers, which chart and graph point to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.graph.query import macs
from onnxq.report.bits import activation_bits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnxq.report.evidence import Evidence, LayerError
    from onnxq.report.result import Result
    from onnxq.runtime.kernel_times import KernelTime

__all__ = ["NodeRow", "node_rows"]

_HEAVY = ("Conv", "Gemm", "MatMul")
_REAL = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_SUFFIX = re.compile(r"(_nchwc|_token_\d+)+$")


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node of the float model as the plan knows it.

    Attributes:
        number: Place in the graph, from 1.
        node: Its name.
        op: Its operator.
        value: The value that its layer ends at, such as behind a Relu that runs with it; its first
            output where nothing was measured.
        shape: Its first output's, such as ``1×32×52×52``; empty if unknown.
        macs: Multiply-accumulates of one sample; 0 for all but heavy nodes.
        runs: "integer", "half", "float", or "other" for what computes no real numbers.
        weight_bits: Of its weight; None without one.
        value_bits: Of that value; None = float.
        whole: SQNR there in dB; None if it was not measured.
        own: The same with the layer's inputs from the float model.
        float_us: Microseconds of its kernels in the float model; None if it has none of its own.
        integer_us: The same in the quantized model.
        reason: Why it stayed float.
    """

    number: int
    node: str
    op: str
    value: str
    shape: str
    macs: int
    runs: str
    weight_bits: int | None
    value_bits: int | None
    whole: float | None
    own: float | None
    float_us: float | None
    integer_us: float | None
    reason: str


def node_rows(result: Result) -> list[NodeRow]:
    """Returns the rows in the order of the graph; none without evidence."""
    evidence = result.evidence
    if evidence is None:
        return []
    nodes = list(evidence.model.graph)
    homes = _Homes(nodes)
    measured = {homes.of_kernel(layer.node, layer.op): layer.integer for layer in result.heavy}
    errors = _errors(evidence, homes)
    times = tuple(_by_node(t, homes) for t in (evidence.float_times, evidence.integer_times))
    weights = {weight.node: weight.bits for weight in result.weights}
    bits = activation_bits(result.plan)
    rows = []
    for place, node in enumerate(nodes):
        name, error = str(node.name), errors.get(place)
        value = str(node.outputs[0].name) if error is None else error.value
        rows.append(
            NodeRow(
                number=place + 1,
                node=name,
                op=node.op_type,
                value=value,
                shape="×".join(map(str, evidence.shapes.get(str(node.outputs[0].name), ()))),
                macs=macs(node, evidence.shapes) or 0,
                runs=_runs(node, result, measured.get(place)),
                weight_bits=weights.get(name),
                value_bits=bits.get(value),
                whole=None if error is None else error.whole,
                own=None if error is None else error.own,
                float_us=times[0].get(place),
                integer_us=times[1].get(place),
                reason=result.plan.float_nodes.get(name, ""),
            )
        )
    return rows


def _runs(node: ir.Node, result: Result, measured: bool | None) -> str:
    """What really ran, where onnxruntime told; else what the plan says."""
    plan = result.plan
    if str(node.name) in plan.half:
        return "half"
    if measured is not None:
        return "integer" if measured else "float"
    if all(value.dtype is not None and value.dtype not in _REAL for value in node.outputs):
        return "other"
    if str(node.name) in plan.float_nodes:
        return "float"
    touched = [*node.inputs, *node.outputs]
    planned = any(value is not None and str(value.name) in plan.values for value in touched)
    return "integer" if planned else "other"


class _Homes:
    """Where in the graph the nodes and values are, by all names that kernels go by."""

    def __init__(self, nodes: Sequence[ir.Node]) -> None:
        self._nodes = nodes
        self.places: dict[str, int] = {}
        for place, node in enumerate(nodes):
            self.places.update({str(value.name): place for value in node.outputs})
        self.places.update({str(node.name): place for place, node in enumerate(nodes)})

    def of_kernel(self, name: str, op: str) -> int | None:
        """Returns the place of a kernel's node; None if no node is known by that name.

        A convolution that was fused with what is behind it goes by the name of that.
        """
        place = self.places.get(_SUFFIX.sub("", name))
        fused = place is not None and any(kind in op for kind in _HEAVY)
        while fused and place is not None and not _is_heavy(self._nodes[place]):
            source = self._nodes[place].inputs[0] if self._nodes[place].inputs else None
            place = None if source is None else self.places.get(str(source.name))
        return place


def _is_heavy(node: ir.Node) -> bool:
    return any(kind in node.op_type for kind in _HEAVY)


def _errors(evidence: Evidence, homes: _Homes) -> dict[int, LayerError]:
    """Returns place → error; of several values of one node the worst."""
    found: dict[int, LayerError] = {}
    for layer in evidence.layers:
        place = homes.places.get(layer.node, homes.places.get(layer.value))
        if place is not None and (place not in found or layer.whole < found[place].whole):
            found[place] = layer
    return found


def _by_node(times: Iterable[KernelTime], homes: _Homes) -> dict[int, float]:
    spent: dict[int, float] = {}
    for kernel in times:
        place = homes.of_kernel(kernel.name, kernel.op)
        if place is not None:
            spent[place] = spent.get(place, 0.0) + kernel.microseconds
    return spent
