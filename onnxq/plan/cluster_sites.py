"""Where channels can be taken out of a value, and what stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.query import only_use
from onnxq.graph.roles import is_activation, is_constant
from onnxq.plan.quant_plan import Use
from onnxq.plan.target import OpKind

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.target import Target

__all__ = ["FloatChain", "float_chain", "readers_fault", "value_fault", "written_value"]

_PLANAR = 4


class FloatChain(NamedTuple):
    """What has to become float for a value to be written in float.

    Attributes:
        nodes: Nodes that give up their integer kernels, the last one first.
        inner: Values between and in front of them that are planned and need not be any more.
        written: Values in front of them that convolutions write on integers, with a scale per
            channel from now on (``onnxq.plan.channels``): only float nodes read them.
    """

    nodes: tuple[ir.Node, ...]
    inner: tuple[ir.Value, ...]
    written: tuple[ir.Value, ...] = ()


def float_chain(value: ir.Value, target: Target, plan: QuantPlan) -> FloatChain | str:
    """Returns what has to become float in front of ``value``, or why that cannot be."""
    nodes: dict[ir.Node, None] = {}
    inner: dict[ir.Value, None] = {}
    written: dict[ir.Value, None] = {}
    waiting = [value]
    while waiting:
        last = waiting.pop()
        node = last.producer()
        if node is None or node in nodes or str(node.name) in plan.float_nodes:
            continue
        rule = target.ops.get(node.op_type)
        if rule is None:
            continue
        if last is not value and _writes_channels(node):
            written[last] = None
            continue
        if rule.kind is not OpKind.RESCALES:
            return f"{node.op_type} '{node.name}' writes one scale"
        nodes[node] = None
        sources = [source for source in node.inputs if source is not None]
        planned = [s for s in sources if is_activation(s) and str(s.name) in plan.values]
        inner.update(dict.fromkeys(planned))
        waiting += planned
    for source in inner:
        coded = {n for n in source.consumers() if str(n.name) not in plan.float_nodes}
        if source.is_graph_output() or not coded <= set(nodes):
            return f"others read the codes of '{source.name}'"
        if len(plan.group_of(str(source.name))) > 1:
            return f"'{source.name}' shares its scale with other values"
    free = tuple(source for source in inner if source not in written)
    return FloatChain(tuple(nodes), free, tuple(written))


def _writes_channels(node: ir.Node) -> bool:
    """Whether a node can write its output with a scale per channel."""
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    if node.op_type != "Conv" or not is_constant(weight) or weight is None or weight.shape is None:
        return False
    return len(weight.shape) >= _PLANAR and len(list(weight.uses())) == 1


def value_fault(value: ir.Value, target: Target, plan: QuantPlan) -> str | None:
    """Returns why the value itself cannot have clusters; None if it can."""
    name = str(value.name)
    dtype = plan.values[name].spec.dtype
    if dtype.bits < dtype.storage.itemsize * 8:
        return f"{dtype} is stored wider than it is"
    if value.is_graph_output():
        return "it is a graph output"
    if len(plan.group_of(name)) > 1:
        return "it shares its scale with other values"
    chain = float_chain(value, target, plan)
    return chain if isinstance(chain, str) else None


def readers_fault(value: ir.Value, readers: list[ir.Node], plan: QuantPlan) -> str | None:
    """Returns why the readers of a value cannot be cut.

    Args:
        value: The value.
        readers: Those of its readers whose sums can be cut by channels.
        plan: What runs on integers.
    """
    uses = [Use(str(node.name), position) for node, position in value.uses()]
    if len(readers) < len(uses) or any(use.position for use in uses):
        return "not only layers that add up over its channels read it"
    if any(use in plan.uses for use in uses):
        return "a use of it has a plan of its own"
    for node in readers:
        weight = node.inputs[1]
        planned = plan.values.get(str(weight.name)) if weight is not None else None
        if planned is None or str(node.name) in plan.float_nodes:
            return f"'{node.name}' is float"
        if weight is None or len(list(weight.uses())) > 1:
            return f"the weight of '{node.name}' has other readers"
        if node.op_type == "Conv" and str(written_value(node, plan).name) not in plan.values:
            return f"'{node.name}' writes reals"
    return None


def written_value(node: ir.Node, plan: QuantPlan) -> ir.Value:
    """Returns what a node writes: its output, or that of a Relu or Clip that vanishes into it."""
    value = node.outputs[0]
    use = only_use(value)
    if str(value.name) not in plan.values and use and use.node.op_type in ("Relu", "Clip"):
        return use.node.outputs[0]
    return value
