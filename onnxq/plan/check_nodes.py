"""What nodes ask of the plans around them; each violation would change what the model computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import only_use
from onnxq.graph.roles import attribute, is_constant, weight_channel_axis
from onnxq.plan.check_codes import stale_codes
from onnxq.plan.check_sums import sum_violations
from onnxq.plan.obstacles import clip_bounds, multiplies_values
from onnxq.plan.quant_plan import Use
from onnxq.plan.spec import PerAxis, PerTensor
from onnxq.plan.target import OpKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan
    from onnxq.plan.target import Target

__all__ = ["node_violations"]


def node_violations(plan: QuantPlan, model: ir.Model, target: Target) -> Iterator[str]:
    """Yields what is wrong around the nodes that run on integers.

    1. Values that depend on the input have one scale, or one per channel (axis 1). The latter needs
       a Conv with a planned weight that writes it, directly or through a Relu that nothing else
       precedes. Either no such Conv reads it, or nothing else: dense or depthwise ones with equal
       zero points and with codes, made for it (``onnxq.plan.channels``), in weights of their own.
    2. An operator that moves codes about has the same params before and behind it, unless it was
       kept float.
    3. A Relu or Clip that vanishes into the quantization behind it saturates as that does: the
       codes of its bounds are the least and greatest code or lie beyond.
    4. A heavy node's weight has one scale, or one per output channel, and codes that resemble it.
    5. Sums of products and biases fit: :func:`onnxq.plan.check_sums.sum_violations`.

    Rules 2 to 5 are asked only where rule 1 holds.
    """
    around = _Around(plan, target)
    values = (*model.graph.inputs, *(out for node in model.graph for out in node.outputs))
    if found := [line for value in values for line in around.channels(value)]:
        yield from found
        return
    for node in model.graph:
        rule = target.ops.get(node.op_type) if node.domain == "" else None
        if rule is None:
            continue
        if rule.kind is OpKind.SAME_PARAMS and str(node.name) not in plan.float_nodes:
            yield from around.unequal(node)
        elif rule.kind is OpKind.ABSORBED:
            yield from around.unsaturated(node)
        elif (
            rule.kind is OpKind.HEAVY
            and not multiplies_values(node, rule)
            and around.on_integers(node)
        ):
            yield from around.heavy(node)


class _Around:
    """The rules; each yields what is wrong at one node or value."""

    def __init__(self, plan: QuantPlan, target: Target) -> None:
        self.plan = plan
        self.target = target

    def planned(self, node: ir.Node, position: int) -> ValuePlan | None:
        """Returns the plan of an input of ``node``; float nodes compute with float weights."""
        value = node.inputs[position] if position < len(node.inputs) else None
        if value is None or (is_constant(value) and str(node.name) in self.plan.float_nodes):
            return None
        return self.plan.of(str(value.name), Use(str(node.name), position))

    def on_integers(self, node: ir.Node) -> bool:
        """Whether the node's input and weight are both planned."""
        return self.planned(node, 0) is not None and self.planned(node, 1) is not None

    def unequal(self, node: ir.Node) -> Iterator[str]:
        """Rule 2."""
        before = self.planned(node, 0)
        for out in node.outputs:
            behind = self.plan.values.get(str(out.name))
            if before is None or behind is None:
                continue
            assert before.params is not None
            assert behind.params is not None
            if before.spec.dtype != behind.spec.dtype or not before.params.same_as(behind.params):
                source = node.inputs[0]
                assert source is not None
                yield (
                    f"node '{node.name}' ({node.op_type}) only moves codes: '{source.name}' and "
                    f"'{out.name}' must have the same dtype, scale and zero point; copy those of "
                    "one to the other"
                )

    def unsaturated(self, node: ir.Node) -> Iterator[str]:
        """Rule 3."""
        behind = self.plan.values.get(str(node.outputs[0].name))
        source = node.inputs[0]
        producer = source.producer() if source is not None else None
        if behind is None or producer is None or self.planned(node, 0) is not None:
            return
        rule = self.target.ops.get(producer.op_type)
        inputs = range(len(producer.inputs)) if producer.op_type == "Add" else (0, 1)
        absorbs = producer.op_type == "Add" or (rule is not None and rule.kind is OpKind.HEAVY)
        if not absorbs or any(self.planned(producer, i) is None for i in inputs):
            return
        low, high = clip_bounds(node)
        params, dtype = behind.params, behind.spec.dtype
        assert params is not None
        name = node.outputs[0].name
        scale = params.scale.astype(np.float64)
        if (np.rint(low / scale) + params.zero_point > dtype.qmin).any():
            wish = f"zero point {dtype.qmin}" if low == 0 else f"no code below that of {low:g}"
            yield f"value '{name}' is behind {node.op_type} and must have {wish}; change it"
        if (np.rint(high / scale) + params.zero_point < dtype.qmax).any():
            yield (
                f"value '{name}' is behind a Clip to {high:g}, which its scale exceeds; lower the "
                f"scale until code {dtype.qmax} stands for {high:g} or less"
            )

    def heavy(self, node: ir.Node) -> Iterator[str]:
        """Rules 4 and 5."""
        x, w = self.planned(node, 0), self.planned(node, 1)
        assert x is not None
        assert w is not None
        axis = weight_channel_axis(node)
        name = node.inputs[1].name  # type: ignore[union-attr]
        if not isinstance(w.spec.granularity, PerTensor) and w.spec.granularity != PerAxis(axis):
            yield (
                f"weight '{name}' of node '{node.name}' must have one scale, or one per output "
                f'channel: "tensor" or {{"axis": {axis}}}'
            )
            return
        if (distance := stale_codes(node, x, w)) is not None:
            source = node.inputs[0].name  # type: ignore[union-attr]
            yield (
                f"the codes of weight '{name}' are {distance:.0%} off the weight, at its scale and "
                f"that of '{source}'; undo the change of these, or make a new plan"
            )
        yield from sum_violations(node, x, w, self.plan, self.target.pair_bound)

    def channels(self, value: ir.Value) -> Iterator[str]:
        """Rule 1."""
        name = str(value.name)
        for user, position in value.uses():
            planned = self.plan.uses.get(Use(str(user.name), position))
            if planned is not None and not isinstance(planned.spec.granularity, PerTensor):
                yield f"use '{user.name}:{position}' of '{name}' must have one scale"
        planned = self.plan.values.get(name)
        if planned is None or isinstance(planned.spec.granularity, PerTensor):
            return
        if planned.spec.granularity != PerAxis(1):
            yield f"value '{name}' must have one scale, or one per channel ({{\"axis\": 1}})"
            return
        fault = self._writer_fault(value) or self._reader_fault(value, planned)
        if fault is not None:
            yield f"value '{name}' cannot have a scale per channel: {fault}; make a new plan"

    def _coded(self, node: ir.Node | None) -> bool:
        """Whether ``node`` is a convolution that lowering folds scales into."""
        return node is not None and node.op_type == "Conv" and self.planned(node, 1) is not None

    def _writer_fault(self, value: ir.Value) -> str | None:
        writer = value.producer()
        if writer is not None and writer.op_type == "Relu" and self.planned(writer, 0) is None:
            source = writer.inputs[0]
            alone = source is not None and only_use(source) is not None
            writer = source.producer() if source is not None and alone else None
        return None if self._coded(writer) else "no Conv with a planned weight writes it"

    def _reader_fault(self, value: ir.Value, planned: ValuePlan) -> str | None:
        uses = list(value.uses())
        if any(Use(str(user.name), position) in self.plan.uses for user, position in uses):
            return "a use of it has a plan of its own"
        readers = [user for user, _ in uses]
        coded = [user for user in readers if self._coded(user)]
        if not coded:
            return None
        if len(coded) < len(readers) or value.is_graph_output():
            return "not only convolutions with planned weights read it"
        if fault := next(filter(None, map(self._fold_fault, coded)), None):
            return fault
        assert planned.params is not None
        if np.unique(planned.params.zero_point).size > 1:
            return "the convolutions that read it need equal zero points"
        return None

    def _fold_fault(self, node: ir.Node) -> str | None:
        planned, weight = self.planned(node, 1), node.inputs[1]
        assert planned is not None
        assert weight is not None
        if not _takes_channels(node):
            return f"node '{node.name}' has groups of channels"
        if planned.codes is None or len(list(weight.uses())) > 1:
            return f"weight '{weight.name}' has no codes made for it alone"
        return None


def _takes_channels(node: ir.Node) -> bool:
    """Whether a convolution is dense, or has one output channel per input channel."""
    weight, groups = node.inputs[1], int(attribute(node, "group", 1))
    assert weight is not None
    assert weight.shape is not None
    return groups == 1 or bool(weight.shape[1] == 1 and weight.shape[0] == groups)
