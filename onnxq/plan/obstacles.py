"""What keeps a node from running on integers on a target, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnxq.graph.roles import attribute, is_activation, is_constant, output_channels
from onnxq.plan.target import OpKind, OpRule

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.plan.target import Target

__all__ = ["clip_bounds", "data_positions", "multiplies_values", "obstacle", "stands_alone"]


def data_positions(node: ir.Node, rule: OpRule) -> list[int]:
    """Returns the positions of the inputs that an integer kernel reads as codes."""
    if multiplies_values(node, rule):
        return [0, 1]
    positions = list(range(len(node.inputs))) if rule.inputs is None else list(rule.inputs)
    if not rule.constants:
        return positions
    return [p for p in positions if p < len(node.inputs) and not is_constant(node.inputs[p])]


def multiplies_values(node: ir.Node, rule: OpRule) -> bool:
    """Returns whether an integer kernel multiplies two values, and not one by a weight."""
    return rule.values and len(node.inputs) > 1 and not is_constant(node.inputs[1])


def obstacle(node: ir.Node, target: Target) -> str | None:
    """Returns why ``node`` has no integer kernel on ``target``; None if it has one.

    1. The operator and its attributes must be in the target's table.
    2. Data inputs must be float activations; outputs one, but for Split.
    3. A heavy node needs a constant weight of rank 2 or more, and a constant bias if it has one.
    4. Relu and Clip that vanish do so only into the output of a heavy node or Add that nothing else
       reads, and Clip only with constant bounds around 0; some stand alone (:func:`stands_alone`).
    """
    rule = target.ops.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None:
        return f"{target.name} has no integer kernel for {node.op_type}"
    if (reason := _form_obstacle(node, rule, target)) is not None:
        return reason
    if rule.kind is OpKind.HEAVY and not multiplies_values(node, rule):
        return _heavy_obstacle(node)
    if not rule.vanishes or stands_alone(node, target):
        return None
    return _absorbed_obstacle(node, target)


def _form_obstacle(node: ir.Node, rule: OpRule, target: Target) -> str | None:
    """Rules 1 and 2."""
    for name, wanted in rule.when.items():
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if attribute(node, name, allowed[0]) not in allowed:
            return f"{target.name} needs {name} = {' or '.join(map(str, allowed))}"
    data = data_positions(node, rule)
    if not data or not all(is_activation(node.inputs[i]) for i in data):
        return "an operand is no float activation"
    others = (value for i, value in enumerate(node.inputs) if i not in data)
    if rule.constants and any(is_activation(value) for value in others):
        return "an operand is no constant"
    several = len([out for out in node.outputs if out.uses() or out.is_graph_output()]) > 1
    return "it has several outputs" if several and node.op_type != "Split" else None


def stands_alone(node: ir.Node, target: Target) -> bool:
    """Returns whether a Relu or Clip runs on codes of its own, since nothing absorbs it.

    It does so on targets where all in between has to run on integers.
    """
    rule = target.ops.get(node.op_type)
    if rule is None or not rule.vanishes or not target.whole:
        return False
    low, high = clip_bounds(node)
    return low <= high and _absorbed_obstacle(node, target) is not None


def _heavy_obstacle(node: ir.Node) -> str | None:
    weight = node.inputs[1]
    if not is_constant(weight) or weight is None or weight.shape is None or len(weight.shape) < 2:
        return "its second operand is no constant weight"
    if node.op_type == "MatMul" and len(weight.shape) != 2:
        return "its weight is no matrix"
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and not is_constant(bias):
        return "its bias is no constant"
    if bias is None or bias.shape is None:
        return None
    numbers = math.prod(d for d in bias.shape if isinstance(d, int))
    return None if numbers in (1, output_channels(node)) else "its bias is no number per channel"


def _absorbed_obstacle(node: ir.Node, target: Target) -> str | None:
    source = node.inputs[0]
    producer = source.producer() if source is not None else None
    if (
        source is None
        or producer is None
        or len(list(source.uses())) != 1
        or source.is_graph_output()
    ):
        return "the value in front of it is read elsewhere too"
    rule = target.ops.get(producer.op_type)
    if producer.op_type != "Add" and (rule is None or rule.kind is not OpKind.HEAVY):
        return f"{producer.op_type} does not absorb it"
    low, high = clip_bounds(node)
    if not low <= 0 <= high:
        return "its bounds do not enclose 0"
    return None


def clip_bounds(node: ir.Node) -> tuple[float, float]:
    """Returns the bounds of Relu or Clip; NaN where one is no constant."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    bounds = [-math.inf, math.inf]
    for position in (1, 2):
        value = node.inputs[position] if len(node.inputs) > position else None
        if value is not None:
            constant = value.const_value if is_constant(value) else None
            bounds[position - 1] = math.nan if constant is None else float(constant.numpy().item())
    return bounds[0], bounds[1]
