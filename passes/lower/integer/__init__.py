"""Lowering to integers alone, in standard ONNX operators that give the same bits everywhere.

1. Codes are uint8 between QuantizeLinear at the inputs and DequantizeLinear behind the last integer
   node; between these borders there is no float.
2. A value is kept with channels second or last, whichever its readers compute with, and transposed
   where they differ.
3. Every node of the plan's integer region has a form of its own: products in ``layers``, sums in
   ``sums``, functions in ``tables``, and ``pools``, ``moves``, ``resize``, ``softmax``,
   ``layer_norm``.
4. Relu and Clip that the plan absorbs are the clipping of the codes in front of them; what is added
   to a matrix product is its bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.errors import PlanError
from onnxq.passbase import LoweringPass
from onnxq.passes.lower.integer import (
    layer_norm,
    layers,
    moves,
    pools,
    resize,
    softmax,
    sums,
    tables,
)
from onnxq.passes.lower.integer.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["LowerToInteger"]

_HANDLERS: Mapping[str, Callable[[Scope], None]] = {
    **layers.HANDLERS,
    **sums.HANDLERS,
    **pools.HANDLERS,
    **moves.HANDLERS,
    **resize.HANDLERS,
    **tables.HANDLERS,
    **softmax.HANDLERS,
    **layer_norm.HANDLERS,
}


class LowerToInteger(LoweringPass):
    """Makes the integer-only model of a plan; see the module's rules."""

    name = "lower-to-integer"

    def __init__(self, plan: QuantPlan, *, narrow: bool = False) -> None:
        """Makes the pass.

        Args:
            plan: What to emit.
            narrow: Whether sums are rescaled in int32 where that does little harm, instead of by
                multipliers of 31 bits.
        """
        super().__init__(plan)
        self._narrow = narrow

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Returns a new model; ``model`` stays as it is.

        Raises:
            PlanError: The plan wants what has no integer form.
        """
        if self.plan.clusters:
            name = next(iter(self.plan.clusters))
            raise PlanError(
                f"channels of value '{name}' are quantized apart, which integers alone do not"
                " carry; leave split-outliers out"
            )
        model = model.clone()
        graph = model.graph
        nodes = list(graph)
        if not nodes:
            return ir.passes.PassResult(model, modified=False)
        scope = Scope(graph, self.plan, narrow=self._narrow)
        replaced = []
        for node in nodes:
            scope.node = node
            absorbed = scope.is_held(node.outputs[0])
            if not self._on_integers(node) or not (absorbed or scope.computes()):
                scope.let_read()
                continue
            replaced.append(node)
            if not absorbed:
                _HANDLERS[node.op_type](scope)
        scope.leave()
        for node in reversed(replaced):
            graph.remove(node, safe=True)
        scope.editor.drop_unused_constants()
        return ir.passes.PassResult(model, modified=True)

    def _on_integers(self, node: ir.Node) -> bool:
        known = node.op_type in _HANDLERS and node.domain == ""
        return known and str(node.name) not in self.plan.float_nodes
