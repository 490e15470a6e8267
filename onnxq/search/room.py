"""What passes behind the choice of bits may add to the file: biases, and tables of codebooks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import heavy, weight_of
from onnxq.graph.roles import output_channels
from onnxq.numerics.rounded import METHODS
from onnxq.plan.codebooks import takes_levels
from onnxq.plan.quant_plan import Use
from onnxq.search.coded_layer import CodedLayer, coded_layer

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.target import Target

__all__ = ["with_room"]


def with_room(
    model: ir.Model, plan: QuantPlan, target: Target, *, codebooks: bool = False
) -> QuantPlan:
    """Returns a plan whose file is as large as that of ``plan`` can become.

    Args:
        model: The float model, with the opset of the result.
        plan: With params, which tell by their method what is rounded already.
        target: What runs the result.
        codebooks: Whether rounding chooses codebooks.
    """
    opset, shifts = model.graph.opset_imports[""], dict(plan.bias_shift)
    for node in model.graph:
        if not heavy(node) or weight_of(node.inputs[1]) is None:
            continue
        name = str(node.name)
        stored = name not in plan.float_nodes or Use(name, 1) in plan.uses
        if stored and node.op_type != "MatMul":
            shifts.setdefault(name, np.zeros(output_channels(node), np.float32))
        layer = coded_layer(node, plan) if codebooks else None
        if not isinstance(layer, CodedLayer):
            continue
        spec, params = layer.plan.spec, layer.plan.params
        rounded = params is not None and params.method in METHODS
        if not rounded and takes_levels(spec, target, opset):
            levels = np.arange(spec.dtype.qmin, spec.dtype.qmax + 1, dtype=np.int32)
            plan = layer.with_weight(plan, replace(layer.plan, levels=levels))
    return replace(plan, bias_shift=shifts)
