"""Which nodes run on integers and which in float, where that costs least on a target.

The target's kernel and conversion times (``onnxq.plan.cost``) make the problem, a minimum cut
(``onnxq.plan.partition``) solves it. Beside the times of single nodes it holds that

1. Relu and Clip vanish into the layer in front of them, on either side; other activations vanish
   into a float convolution alone.
2. onnxruntime pulls quantization through nodes that only move values: next to an integer node they
   run on codes anyway.
3. A pool of codes is fast only behind an integer convolution, whose layout it takes over.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from onnxq.errors import TargetError
from onnxq.graph.roles import is_activation
from onnxq.plan.obstacles import data_positions
from onnxq.plan.partition import Crossing, Pairing, Sides, cost_of, integer_nodes
from onnxq.plan.target import OpKind
from onnxq.plan.timing import Timing
from onnxq.plan.work import kernel_kind, work_of

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    import onnx_ir as ir

    from onnxq.plan.cost import CostTable
    from onnxq.plan.target import Target

    Shapes = Mapping[str, tuple[int, ...]]

__all__ = ["cheapest", "cost_reason", "timing_of"]

_FUSES_INTO_FLOAT_CONV = ("Relu", "Clip", "LeakyRelu", "HardSwish", "Sigmoid")


def cheapest(
    graph: ir.Graph,
    reasons: Mapping[str, str],
    target: Target,
    shapes: Shapes,
    preference: float,
) -> frozenset[str]:
    """Returns the names of the nodes that run on integers where that costs least.

    Args:
        graph: Of the float model.
        reasons: Node name → why it must stay float.
        target: Whose kernels and times count.
        shapes: Value name → shape of one sample.
        preference: Share of its cost that an integer node is forgiven; not where the whole would
            get slower than float.

    Where the target's times are not known, all that can runs on integers, as far as a layer with a
    weight does in its neighbourhood.
    """
    if target.costs is None:
        return _beside_layers(graph, reasons, target)
    timing = timing_of(graph, reasons, target, shapes)
    costs, crossings, pairings = timing.sides, timing.crossings, timing.pairings
    forgiven = {n: replace(c, integer=c.integer * (1 - preference)) for n, c in costs.items()}
    liked = integer_nodes(forgiven, crossings, pairings)
    if cost_of(liked, costs, crossings, pairings) <= cost_of(
        frozenset(), costs, crossings, pairings
    ):
        return liked
    return integer_nodes(costs, crossings, pairings)


def timing_of(graph: ir.Graph, fixed: Container[str], target: Target, shapes: Shapes) -> Timing:
    """Returns what the nodes of a graph cost on integers and in float.

    Args:
        graph: Of the float model.
        fixed: Names of the nodes that stay float.
        target: Whose kernels and times count.
        shapes: Value name → shape of one sample.

    Raises:
        TargetError: The target's times are not known.
    """
    times = target.costs
    if times is None:
        raise TargetError(f"the times of {target.name} are not known; leave budgets of latency out")
    costs: dict[str, Sides] = {}
    pairings: list[Pairing] = []
    for node in graph:
        name = str(node.name)
        kind = kernel_kind(node)
        integer, real = times.times(kind, work_of(node, shapes))
        source = node.inputs[0] if node.inputs else None
        producer = source.producer() if source is not None else None
        if producer is not None and node.op_type in _FUSES_INTO_FLOAT_CONV:
            alone, absorbed = real, node.op_type in ("Relu", "Clip")
            real = 0.0 if producer.op_type == "Conv" else real
            if absorbed and name not in fixed:
                pairings.append(Pairing(str(producer.name), name, math.inf))
                pairings.append(Pairing(name, str(producer.name), math.inf))
            elif producer.op_type == "Conv":
                pairings.append(Pairing(str(producer.name), name, alone))
        if name not in fixed:
            pairings += _moved_as_codes(node, producer, integer - real, target)
        fed_raw = node.op_type == "MaxPool" and producer is None
        if node.op_type == "MaxPool" and producer is not None:
            # a pool of codes is fast only behind an integer convolution, whose layout it takes over
            pairings.append(Pairing(name, str(producer.name), math.inf))
        forbidden = name in fixed or fed_raw
        costs[name] = Sides(math.inf if forbidden else integer, real)
    crossings = _crossings(graph, target, times, shapes)
    return Timing(costs, tuple(crossings), tuple(pairings))


def _moved_as_codes(
    node: ir.Node, producer: ir.Node | None, extra: float, target: Target
) -> list[Pairing]:
    """Extra costs of a node that moves values about, in float next to an integer node.

    onnxruntime pulls quantization through such nodes: they run on codes anyway.
    """
    rule = target.ops.get(node.op_type)
    if rule is None or rule.kind is not OpKind.SAME_PARAMS or extra <= 0:
        return []
    neighbours = [producer, *(user for out in node.outputs for user in out.consumers())]
    names = {str(other.name) for other in neighbours if other is not None}
    return [Pairing(name, str(node.name), extra) for name in sorted(names)]


def _beside_layers(graph: ir.Graph, reasons: Mapping[str, str], target: Target) -> frozenset[str]:
    """Returns the nodes without a reason that others without one join to a heavy one."""
    able = {str(node.name): node for node in graph if str(node.name) not in reasons}
    heavy = [name for name, node in able.items() if target.ops[node.op_type].kind is OpKind.HEAVY]
    found, open_names = set(heavy), list(heavy)
    while open_names:
        node = able[open_names.pop()]
        before = (value.producer() for value in node.inputs if value is not None)
        behind = (user for out in node.outputs for user in out.consumers())
        for other in (*before, *behind):
            name = "" if other is None else str(other.name)
            if name in able and name not in found:
                found.add(name)
                open_names.append(name)
    return frozenset(found)


def _crossings(graph: ir.Graph, target: Target, costs: CostTable, shapes: Shapes) -> list[Crossing]:
    found = []
    values = [*graph.inputs, *(out for node in graph for out in node.outputs)]
    for value in values:
        if not is_activation(value):
            continue
        producer = value.producer()
        consumers = tuple(
            dict.fromkeys(
                str(user.name)
                for user, position in value.uses()
                if _reads_codes(user, position, target)
            )
        )
        rule = target.ops.get(producer.op_type) if producer is not None else None
        float_out = rule is not None and not rule.needs_output
        elements = math.prod(shapes.get(str(value.name), (0,)))
        found.append(
            Crossing(
                producer=None if producer is None else str(producer.name),
                consumers=consumers,
                leaves=value.is_graph_output(),
                quantize=costs.quantize.output_ns * elements / 1e3 + costs.quantize.call_us,
                dequantize=0.0
                if float_out
                else costs.dequantize.output_ns * elements / 1e3 + costs.dequantize.call_us,
                name=str(value.name),
            )
        )
    return found


def _reads_codes(user: ir.Node, position: int, target: Target) -> bool:
    rule = target.ops.get(user.op_type)
    return rule is None or position in data_positions(user, rule)


def cost_reason(node: ir.Node, target: Target, shapes: Shapes) -> str:
    """Returns in words why ``node``, which could run on integers, is cheaper in float."""
    rule = target.ops.get(node.op_type)
    if rule is not None and rule.vanishes:
        return "part of the float layer in front of it"
    if target.costs is None:
        return "no layer that runs on integers is near"
    integer, real = target.costs.times(kernel_kind(node), work_of(node, shapes))
    if integer > real:
        return f"slower on integers: {_microseconds(integer)} instead of {_microseconds(real)}"
    if integer == real:
        return "the layers around it are faster in float"
    saved = _microseconds(real - integer)
    return f"saves {saved} on integers, less than the conversions around it cost"


def _microseconds(time: float) -> str:
    return f"{time:.0f} µs" if time >= 9.5 else f"{time:.1f} µs"
