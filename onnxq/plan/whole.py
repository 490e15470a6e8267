"""Which nodes run on integers where nothing between the first and the last may be float."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.query import read_values
from onnxq.plan.obstacles import stands_alone
from onnxq.plan.target import OpKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.plan.target import Target

__all__ = ["reasons_for_whole"]


def reasons_for_whole(
    graph: ir.Graph, reasons: Mapping[str, str], target: Target
) -> dict[str, str]:
    """Returns all nodes that stay float: no path leads from integers through one to integers.

    1. What has a reason of its own stays float.
    2. So does what reads, directly or not, a float value that was computed from integers.
    3. An operator that vanishes into the node in front of it stays float where that does.

    Args:
        graph: Of the float model.
        reasons: Node name → why it must stay float.
        target: What the model will run on.

    Returns:
        ``reasons``, and those that follow from them.
    """
    found = dict(reasons)
    coded: set[ir.Value] = set()
    left: dict[ir.Value, str] = {}
    for node in graph:
        name = str(node.name)
        read = list(read_values(node))
        if name not in found:
            reason = _reason(node, read, left, found, target)
            if reason is not None:
                found[name] = reason
        if name not in found:
            coded.update(node.outputs)
        elif any(value in coded or value in left for value in read):
            cause = next((left[value] for value in read if value in left), name)
            left.update(dict.fromkeys(node.outputs, cause))
    return found


def _reason(
    node: ir.Node,
    read: list[ir.Value],
    left: Mapping[ir.Value, str],
    found: Mapping[str, str],
    target: Target,
) -> str | None:
    for value in read:
        if value in left:
            return f"behind '{left[value]}', which integers do not carry"
    absorbed = target.ops[node.op_type].kind is OpKind.ABSORBED
    if absorbed and not stands_alone(node, target):
        producer = read[0].producer()
        if producer is None or str(producer.name) in found:
            return "part of the float layer in front of it"
    return None
