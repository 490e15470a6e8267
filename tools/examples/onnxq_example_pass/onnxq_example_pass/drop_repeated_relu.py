"""Takes out what does nothing: a Relu of what is never negative."""

from __future__ import annotations

from types import MappingProxyType

import onnx_ir as ir

from onnxq.graph.bypass import try_bypass
from onnxq.pass_options import switch
from onnxq.passbase import RewritePass

__all__ = ["DropRepeatedRelu"]

_NEVER_NEGATIVE = ("Relu", "Sigmoid", "Softmax")


class DropRepeatedRelu(RewritePass):
    """Removes each Relu of what a Relu, Sigmoid or Softmax writes.

    1. MaxPool in between changes nothing about that, unless ``through_pooling`` is off.
    2. The node stays where the boundary of the graph needs it.
    """

    name = "drop-repeated-relu"
    options = MappingProxyType({"through_pooling": switch()})

    through_pooling = True

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every Relu of the main graph."""
        relus = [node for node in model.graph if node.op_type == "Relu"]
        dropped = [self._try_drop(node) for node in relus]
        return ir.passes.PassResult(model, any(dropped))

    def _try_drop(self, node: ir.Node) -> bool:
        value = node.inputs[0]
        producer = value.producer() if value is not None else None
        while producer is not None and producer.op_type == "MaxPool" and self.through_pooling:
            value = producer.inputs[0]
            producer = value.producer() if value is not None else None
        if producer is None or producer.op_type not in _NEVER_NEGATIVE:
            return False
        reason = try_bypass(node)
        return self.refuse(node, reason) if reason else self.fired(node, "removed")
