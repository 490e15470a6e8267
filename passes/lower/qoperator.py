"""Lowering to operators on codes: QLinearConv and its kin, which onnxruntime makes of QDQ pairs.

What is emitted is the QDQ form of the plan, with the fusion of ``onnxq.graph.qoperator`` done here
instead of when onnxruntime loads the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.graph.qoperator import to_qoperator
from onnxq.passbase import LoweringPass

if TYPE_CHECKING:
    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["LowerToQoperator"]


class LowerToQoperator(LoweringPass):
    """Makes the model of a plan in onnxruntime's operators on codes."""

    name = "lower-to-qoperator"

    def __init__(self, plan: QuantPlan, pairs: LoweringPass) -> None:
        """Makes the pass.

        Args:
            plan: What to emit.
            pairs: Makes the QDQ form.
        """
        super().__init__(plan)
        self._pairs = pairs

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Returns a new model; ``model`` stays as it is."""
        made = self._pairs(model).model
        to_qoperator(made)
        return ir.passes.PassResult(made, modified=True)
