"""Which nodes that run on integers have to do with given values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.roles import is_activation
from onnxq.plan.obstacles import data_positions

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.target import Target

__all__ = ["touching"]


def touching(
    names: Iterable[str], graph: ir.Graph, plan: QuantPlan, target: Target
) -> dict[str, None]:
    """Returns the integer nodes that write one of the values or read it as data, in order.

    What writes into a Relu or Clip of them counts too: those vanish into it.

    Args:
        names: Names of values.
        graph: Of the float model.
        plan: Says which nodes are float.
        target: Says which inputs are data.
    """
    wanted = set(names)
    found: dict[str, None] = {}
    for node in graph:
        rule = target.ops.get(node.op_type)
        if rule is None or str(node.name) in plan.float_nodes:
            continue
        inputs = [node.inputs[position] for position in data_positions(node, rule)]
        touched = [value for value in (*inputs, *node.outputs) if is_activation(value)]
        if not any(value is not None and str(value.name) in wanted for value in touched):
            continue
        found[str(node.name)] = None
        source = node.inputs[0].producer() if node.inputs[0] is not None else None
        if node.op_type in ("Relu", "Clip") and source is not None:
            found[str(source.name)] = None
    return found
