"""Layers whose weights can be rounded by what comes out of them.

A layer multiplies codes by codes, or it computes in float and its weight alone is stored as codes
(``onnxq.plan.stored_weight``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.bias import takes_shift
from onnxq.graph.linear import linear_layer
from onnxq.graph.query import weight_of
from onnxq.graph.reach import Reach, reach_of
from onnxq.graph.weight_rows import groups_share_scales
from onnxq.plan.quant_plan import Use
from onnxq.plan.spec import PerBlock

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = ["CodedLayer", "coded_layer"]

_WEIGHT_POSITION = 1
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LAYERS = (*_CONVOLUTIONS, "Gemm", "MatMul")


class CodedLayer(NamedTuple):
    """A layer whose weight is stored as codes, as the float model has it.

    Attributes:
        node: The layer.
        weight: float32, its shape.
        plan: Of the weight.
        reach: What outputs of a convolution read; None for Gemm and MatMul.
        real: Whether it computes in float.
    """

    node: ir.Node
    weight: npt.NDArray[np.float32]
    plan: ValuePlan
    reach: Reach | None
    real: bool = False

    def read_by(self, plan: QuantPlan) -> ValuePlan | None:
        """Returns the plan of the codes that it multiplies; None if it computes in float."""
        if self.real:
            return None
        node = self.node
        return plan.of(str(node.inputs[0].name), Use(str(node.name), 0))  # type: ignore[union-attr]

    def weight_in(self, plan: QuantPlan) -> ValuePlan:
        """Returns what ``plan`` makes of the weight."""
        found = plan.of(self._name, self._use)
        assert found is not None, "only planned weights have codes"
        return found

    def with_weight(self, plan: QuantPlan, planned: ValuePlan) -> QuantPlan:
        """Returns ``plan`` with another plan of the weight, in the place of the old one."""
        if self._use in plan.uses:
            return replace(plan, uses={**plan.uses, self._use: planned})
        return plan.with_values({self._name: planned})

    @property
    def _use(self) -> Use:
        return Use(str(self.node.name), _WEIGHT_POSITION)

    @property
    def _name(self) -> str:
        return str(self.node.inputs[_WEIGHT_POSITION].name)  # type: ignore[union-attr]


def coded_layer(node: ir.Node, plan: QuantPlan) -> CodedLayer | str | None:
    """Returns the layer, why its weight cannot be rounded by what it reads, or None if it is none.

    Args:
        node: Any node of the float model.
        plan: What runs on integers, and how weights are stored.
    """
    if node.op_type not in _LAYERS:
        return None
    x, value = node.inputs[0], node.inputs[_WEIGHT_POSITION]
    weight = weight_of(value)
    if x is None or value is None or weight is None:
        return None
    name, real = str(node.name), str(node.name) in plan.float_nodes
    use = Use(name, _WEIGHT_POSITION)
    planned = plan.uses.get(use) if real else plan.of(str(value.name), use)
    if planned is None or (not real and plan.of(str(x.name), Use(name, 0)) is None):
        return None
    convolves = node.op_type in _CONVOLUTIONS
    reach = reach_of(node) if convolves else None
    faults = {
        "its scales are those of blocks": isinstance(planned.spec.granularity, PerBlock),
        "another layer reads its weight": len(value.uses()) > 1,
        "channels of its input are quantized apart": not real and str(x.name) in plan.clusters,
        "its weight does not have rank 2": weight.ndim != 2 and not convolves,
        str(reach): isinstance(reach, str),
    }
    fault = next((reason for reason, holds in faults.items() if holds), None)
    fault = fault or (_fault_in_float(node, planned) if real else None)
    found = None if isinstance(reach, str) else reach
    return fault or CodedLayer(node, weight, planned, found, real)


def _fault_in_float(node: ir.Node, planned: ValuePlan) -> str | None:
    """Returns what no integer kernel allows, and a layer in float may have."""
    layer = linear_layer(node)
    if isinstance(layer, str):
        return layer
    if layer.alpha != 1 or not (layer.kind == "MatMul" or takes_shift(node)):
        return "it multiplies its product or its bias by a factor"
    if groups_share_scales(node) and planned.spec.axis is not None:
        return "its groups share their scales"
    return None
