"""Decides which nodes run on integers: the first plan, specs only.

A node may run on integers when the target has an integer kernel for it (``targets/*.toml``) and it
is no arithmetic of the output tail. Among those, a minimum cut over the target's kernel and
conversion times draws the border (``onnxq.plan.placement``).
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxq.graph.bias import added_bias
from onnxq.graph.query import descendants, heavy
from onnxq.graph.roles import attribute, reaches, weight_channel_axis
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.groups import merge_groups
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.obstacles import (
    data_positions,
    multiplies_values,
    obstacle,
    stands_alone,
)
from onnxq.plan.placement import cheapest, cost_reason
from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import PerAxis, PerTensor, QuantSpec
from onnxq.plan.target import OpKind, OpRule
from onnxq.plan.whole import reasons_for_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.plan.target import Target

__all__ = ["AssignIntegers"]

_FUSES = ("AveragePool", "Softmax", "Where")


@dataclass(frozen=True)
class AssignIntegers(PlanPass):
    """Gives every value of the integer region its spec, and every other node its reason.

    Attributes:
        keep_float: Patterns (as in fnmatch) of node names that stay float.
        forced_float: Node name → reason, for nodes that stay float whatever they cost.
        per_channel: One scale per output channel of a weight instead of one per weight.
        weight_bits: Bits of a weight.
        preference: Share of its cost that an integer node is forgiven, since smaller files and
            less memory traffic are worth time; not where the whole would get slower than float.
    """

    name = "assign-integers"

    keep_float: tuple[str, ...] = ()
    forced_float: Mapping[str, str] = field(default_factory=dict)
    per_channel: bool = True
    weight_bits: int = 8
    preference: float = 0.15

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the specs of all values that integer nodes touch."""
        nodes = list(context.model.graph)
        reasons = self._float_reasons(nodes, context.target)
        if context.target.whole:
            reasons = reasons_for_whole(context.model.graph, reasons, context.target)
            integer = frozenset(str(node.name) for node in nodes) - frozenset(reasons)
        else:
            integer = cheapest(
                context.model.graph, reasons, context.target, context.shapes, self.preference
            )
        for node in nodes:
            if str(node.name) not in integer and str(node.name) not in reasons:
                reasons[str(node.name)] = cost_reason(node, context.target, context.shapes)
        values, groups = self._specs(nodes, integer, context.target)
        notes = [
            Note(NoteKind.REFUSED, self.name, name, reason) for name, reason in reasons.items()
        ]
        return QuantPlan(
            values={**plan.values, **values},
            uses=plan.uses,
            groups=(*plan.groups, *groups),
            bias_shift=plan.bias_shift,
            float_nodes=reasons,
            kept_float=plan.kept_float | self._kept(nodes),
            notes=(*plan.notes, *notes),
        )

    def _kept(self, nodes: list[ir.Node]) -> frozenset[str]:
        """Returns the names of the nodes that the user or another pass wants in float."""
        names = [str(node.name) for node in nodes]
        asked = (n for n in names for p in self.keep_float if fnmatch.fnmatchcase(n, p))
        return frozenset((*self.forced_float, *asked))

    def _float_reasons(self, nodes: list[ir.Node], target: Target) -> dict[str, str]:
        heavy = {
            str(node.name): node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
            for node in nodes
        }
        feeding = reaches(nodes, heavy)
        reasons: dict[str, str] = {}
        for node in nodes:
            name = str(node.name)
            reason = obstacle(node, target)
            if name in self.forced_float:
                reason = self.forced_float[name]
            elif any(fnmatch.fnmatchcase(name, pattern) for pattern in self.keep_float):
                reason = "asked for by --keep-float"
            elif reason is None and name not in feeding and not _harmless_in_tail(node, target):
                reason = "output tail: nothing heavy behind it"
            if reason is not None:
                reasons[name] = reason
        return reasons

    def _specs(
        self, nodes: list[ir.Node], integer: frozenset[str], target: Target
    ) -> tuple[dict[str, ValuePlan], list[frozenset[str]]]:
        values: dict[str, ValuePlan] = {}
        groups: list[frozenset[str]] = []
        activation = ValuePlan(QuantSpec(target.activation, target.symmetric))
        for node in nodes:
            if str(node.name) not in integer:
                continue
            rule = target.ops[node.op_type]
            absorbed = rule.vanishes and not stands_alone(node, target)
            inputs = [] if absorbed else data_positions(node, rule)
            touched = [str(node.inputs[i].name) for i in inputs]  # type: ignore[union-attr]
            touched += [
                str(out.name) for out in node.outputs if _planned_output(out, rule, integer, target)
            ]
            for name in touched:
                values.setdefault(name, activation)
            if (
                self.per_channel
                and target.channel_activations
                and (rule.kind is OpKind.HEAVY or (rule.kind is OpKind.ABSORBED and absorbed))
                and _free_channels(node, integer, target)
            ):
                channels = QuantSpec(target.activation, symmetric=False, granularity=PerAxis(1))
                values[str(node.outputs[0].name)] = ValuePlan(channels)
            if rule.kind is OpKind.SAME_PARAMS:
                groups.append(frozenset(touched))
            if rule.kind is OpKind.HEAVY and not multiplies_values(node, rule):
                weight = node.inputs[1]
                assert weight is not None
                dtype = target.weight_type(self.weight_bits)
                granularity = self._granularity(node, target)
                values[str(weight.name)] = ValuePlan(QuantSpec(dtype, True, granularity))
        return values, merge_groups(groups)

    def _granularity(self, node: ir.Node, target: Target) -> PerAxis | PerTensor:
        """A scale per output channel, where the target has it: any other axis is in the sums.

        The groups of a ConvTranspose share the axis of its weight that runs along them.
        """
        axis = weight_channel_axis(node)
        shared = node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1
        whole = not self.per_channel or target.weight_axis(node.op_type, axis) != axis or shared
        return PerTensor() if whole else PerAxis(axis)


def _harmless_in_tail(node: ir.Node, target: Target) -> bool:
    """What vanishes into the last heavy node; most behind it would need one common scale."""
    rule = target.ops[node.op_type]
    return rule.tail or (rule.vanishes and not stands_alone(node, target))


def _planned_output(value: ir.Value, rule: OpRule, integer: frozenset[str], target: Target) -> bool:
    """An output is quantized unless what follows absorbs it or can take it in float."""
    users = value.consumers()
    if len(users) == 1 and not value.is_graph_output():
        user = users[0]
        absorbed = str(user.name) in integer and target.ops[user.op_type].vanishes
        if absorbed and not stands_alone(user, target):
            return False
        if target.whole and str(user.name) in integer and _is_biased(value):
            return False
    if rule.needs_output:
        return bool(users) or value.is_graph_output()
    return any(str(user.name) in integer for user in users)


def _is_biased(value: ir.Value) -> bool:
    """Whether ``value`` is a product with a weight to which a bias is added next."""
    producer = value.producer()
    product = producer is not None and producer.op_type == "MatMul" and heavy(producer)
    return product and added_bias(value) is not None


def _free_channels(node: ir.Node, integer: frozenset[str], target: Target) -> bool:
    """Whether what a convolution writes can have a scale per channel (``onnxq.plan.channels``).

    All its readers must be float nodes, which multiply by the scales as they dequantize, or
    convolutions on integers with a weight of their own, which take the scales over.
    """
    source: ir.Node | None = node
    if node.op_type == "Relu":
        source = node.inputs[0].producer() if node.inputs[0] is not None else None
    value = node.outputs[0]
    if source is None or source.op_type != "Conv" or not (value.uses() or value.is_graph_output()):
        return False
    if not _owns_weight(source) or not _is_planar(source):
        return False
    users = [user for user in value.consumers() if str(user.name) in integer]
    if not users and target.whole:
        return False  # its accumulators leave as they are
    if not users:
        # onnxruntime would fuse such a node between these scales and later ones, and fail
        fuses = any(u.op_type in target.ops or u.op_type in _FUSES for u in value.consumers())
        behind = {str(node.name) for node in descendants([value])} if fuses else set()
        return not behind & integer
    alone = len(users) == len(value.consumers()) and not value.is_graph_output()
    return alone and all(_takes_channels(user) for user in users)


def _owns_weight(node: ir.Node) -> bool:
    weight = node.inputs[1]
    return weight is not None and len(list(weight.uses())) == 1


def _is_planar(node: ir.Node) -> bool:
    """Rank 4 or more: statistics per channel run along axis 1 there."""
    weight = node.inputs[1]
    return weight is not None and weight.shape is not None and len(weight.shape) >= 4


def _takes_channels(node: ir.Node) -> bool:
    """Dense, or depthwise with one output channel per input channel."""
    if node.op_type != "Conv" or not _owns_weight(node):
        return False
    weight, groups = node.inputs[1], int(attribute(node, "group", 1))
    assert weight is not None
    assert weight.shape is not None
    return groups == 1 or bool(weight.shape[1] == 1 and weight.shape[0] == groups)
