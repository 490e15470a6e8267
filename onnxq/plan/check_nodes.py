"""What nodes ask of the plans around them; each violation would change what the model computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import only_use
from onnxq.graph.roles import attribute, conv_kind, is_constant, weight_channel_axis
from onnxq.plan.check_sums import sum_violations
from onnxq.plan.obstacles import clip_bounds
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

    1. An operator that moves codes about has the same params before and behind it.
    2. A Relu or Clip that vanishes into the quantization behind it saturates as that does: the
       codes of its bounds are the least and greatest code or lie beyond.
    3. A heavy node's weight has one scale, or one per output channel.
    4. Sums of products and biases fit: :func:`onnxq.plan.check_sums.sum_violations`.
    5. Values that depend on the input have one scale, or one per channel (axis 1). The latter needs
       a Conv on integers that writes it, directly or through a Relu that nothing else precedes, and
       either no Conv on integers that reads it, or only depthwise ones; these need equal zero
       points.
    """
    around = _Around(plan, target)
    for node in model.graph:
        rule = target.ops.get(node.op_type) if node.domain == "" else None
        if rule is None:
            continue
        if rule.kind is OpKind.SAME_PARAMS:
            yield from around.unequal(node)
        elif rule.kind is OpKind.ABSORBED:
            yield from around.unsaturated(node)
        elif rule.kind is OpKind.HEAVY and around.on_integers(node):
            yield from around.heavy(node)
    for value in (*model.graph.inputs, *(out for node in model.graph for out in node.outputs)):
        yield from around.channels(value)


class _Around:
    """The rules; each yields what is wrong at one node or value."""

    def __init__(self, plan: QuantPlan, target: Target) -> None:
        self.plan = plan
        self.target = target

    def planned(self, node: ir.Node, position: int) -> ValuePlan | None:
        """Returns the plan that one input of ``node`` sees."""
        value = node.inputs[position] if position < len(node.inputs) else None
        return (
            None if value is None else self.plan.of(str(value.name), Use(str(node.name), position))
        )

    def on_integers(self, node: ir.Node) -> bool:
        """Whether the node's input and weight are both planned."""
        return self.planned(node, 0) is not None and self.planned(node, 1) is not None

    def unequal(self, node: ir.Node) -> Iterator[str]:
        """Rule 1."""
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
        """Rule 2."""
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
        """Rules 3 and 4."""
        x, w = self.planned(node, 0), self.planned(node, 1)
        assert x is not None
        assert w is not None
        axis = weight_channel_axis(node)
        if not isinstance(w.spec.granularity, PerTensor) and w.spec.granularity != PerAxis(axis):
            weight = node.inputs[1]
            assert weight is not None
            yield (
                f"weight '{weight.name}' of node '{node.name}' must have one scale, or one per "
                f'output channel: "tensor" or {{"axis": {axis}}}'
            )
            return
        yield from sum_violations(node, x, w, self.plan, self.target.pair_bound)

    def channels(self, value: ir.Value) -> Iterator[str]:
        """Rule 5."""
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
            yield f"value '{name}' cannot have a scale per channel: {fault}; use \"tensor\""

    def _writer_fault(self, value: ir.Value) -> str | None:
        writer = value.producer()
        if writer is not None and writer.op_type == "Relu" and self.planned(writer, 0) is None:
            source = writer.inputs[0]
            alone = source is not None and only_use(source) is not None
            writer = source.producer() if source is not None and alone else None
        if writer is None or writer.op_type != "Conv" or not self.on_integers(writer):
            return "no Conv on integers writes it"
        return None

    def _reader_fault(self, value: ir.Value, planned: ValuePlan) -> str | None:
        uses = list(value.uses())
        if any(Use(str(user.name), position) in self.plan.uses for user, position in uses):
            return "a use of it has a plan of its own"
        readers = [user for user, _ in uses]
        coded = [user for user in readers if user.op_type == "Conv" and self.on_integers(user)]
        if not coded:
            return None
        if len(coded) < len(readers) or value.is_graph_output():
            return "not only convolutions on integers read it"
        if not all(_one_to_one(user) for user in coded):
            return f"node '{coded[0].name}' mixes its channels"
        assert planned.params is not None
        if np.unique(planned.params.zero_point).size > 1:
            return "the convolutions that read it need equal zero points"
        return None


def _one_to_one(node: ir.Node) -> bool:
    """Whether each output channel of a convolution comes from one input channel of its own."""
    weight = node.inputs[1]
    if not is_constant(weight) or conv_kind(node) != "depthwise":
        return False
    assert weight is not None
    assert weight.shape is not None
    return bool(weight.shape[0] == int(attribute(node, "group", 1)))
