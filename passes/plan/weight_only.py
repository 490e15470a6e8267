"""Weights alone as integers: smaller files without calibration data.

Every constant weight W of a heavy node gets one scale per output channel o,

    scale_o = max |W_o| / qmax,        Ŵ = scale · round(W / scale)

and the nodes' inputs stay float: how a weight reaches its node is the lowering's matter. Fewer than
8 bits are too few codes for the greatest magnitude to decide: their scale is searched
(``onnxq.plan.weight_params``), and a matrix has one for every :data:`_BLOCK` weights of a column,
as onnxruntime's kernel for such products wants it. A convolution's come from a codebook
(``onnxq.numerics.codebook``) where that saves a tenth of their error.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import heavy, weight_of
from onnxq.graph.roles import weight_channel_axis
from onnxq.graph.weight_rows import groups_share_scales
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.codebooks import takes_levels, worth_levels
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import ValuePlan
from onnxq.plan.spec import Granularity, PerAxis, PerBlock, PerTensor, QuantSpec
from onnxq.plan.weight_params import FEW_BITS, weight_params

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["QuantizeWeightsOnly"]

_WEIGHT_POSITION = 1
_BLOCK = 32
_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class QuantizeWeightsOnly(PlanPass):
    """Plans the weights of convolutions and matrix products, and nothing else.

    A weight stays float when

    1. a node that reads it is to stay float,
    2. it is too small for its file to shrink,
    3. something other than heavy nodes of the main graph reads it,
    4. it is not float32, or not finite.

    Attributes:
        keep_float: Patterns (as in fnmatch) of node names whose weights stay float.
        per_channel: One scale per output channel instead of one per weight, and one per block of a
            matrix of few bits.
        bits: Bits of a weight.
        least: Fewest elements of a weight for which it pays.
    """

    name = "quantize-weights-only"

    keep_float: tuple[str, ...] = ()
    per_channel: bool = True
    bits: int = 8
    least: int = 1024

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the params of all weights that are to be stored as integers."""
        values: dict[str, ValuePlan] = {}
        reasons: dict[str, str] = {}
        notes: list[Note] = []
        for node in context.model.graph:
            if not heavy(node):
                continue
            value, name = node.inputs[_WEIGHT_POSITION], str(node.name)
            assert value is not None
            weight = weight_of(value)
            assert weight is not None
            reason = self._float_reason(value, weight)
            if reason is not None:
                reasons[name] = reason
                notes.append(Note(NoteKind.REFUSED, self.name, name, reason))
            elif str(value.name) not in values:
                values[str(value.name)] = self._plan(node, weight, context)
                planned = values[str(value.name)]
                how = f"as {planned.spec.dtype}"
                if planned.levels is not None:
                    how = f"in {planned.bits} bits, from a codebook of {planned.levels.size} levels"
                text = f"weight stored {how}: {weight.size} elements"
                notes.append(Note(NoteKind.FIRED, self.name, name, text))
        kept = {**plan.float_nodes, **reasons}
        return replace(plan.with_values(values).with_notes(notes), float_nodes=kept)

    def _float_reason(self, value: ir.Value, weight: npt.NDArray[np.generic]) -> str | None:
        uses = list(value.uses())
        for user, position in uses:
            if any(fnmatch.fnmatchcase(str(user.name), pattern) for pattern in self.keep_float):
                return "asked for by --keep-float"
            if position != _WEIGHT_POSITION or not heavy(user) or user.graph is not value.graph:
                return f"its weight is read by node '{user.name}' ({user.op_type}) too"
        if value.is_graph_output():
            return "its weight is an output of the model"
        if weight.size < self.least:
            return f"its weight has only {weight.size} elements"
        if weight.dtype != np.float32:
            return f"its weight is {weight.dtype}"
        return None if np.isfinite(weight).all() else "its weight is not finite"

    def _plan(
        self, node: ir.Node, weight: npt.NDArray[np.generic], context: PlanContext
    ) -> ValuePlan:
        real = np.asarray(weight, np.float32)
        spec = QuantSpec(
            context.target.weight_type(self.bits),
            symmetric=True,
            granularity=self._granularity(node, real.shape),
        )
        plan = ValuePlan(spec, weight_params(real, spec))
        rows = node.op_type in _CONVOLUTIONS and not groups_share_scales(node)
        coded = takes_levels(spec, context.target, context.model.graph.opset_imports[""])
        return worth_levels(node, real, plan) if rows and coded else plan

    def _granularity(self, node: ir.Node, shape: tuple[int, ...]) -> Granularity:
        if not self.per_channel:
            return PerTensor()
        axis = weight_channel_axis(node)
        blocked = self.bits < FEW_BITS and len(shape) == 2 and node.op_type in ("Gemm", "MatMul")
        if blocked and shape[1 - axis] % _BLOCK == 0:
            return PerBlock(1 - axis, _BLOCK)
        return PerAxis(axis)
