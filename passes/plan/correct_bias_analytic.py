"""Analytic bias correction: what rounding a weight adds to a layer's mean is taken from its bias.

For every layer y = W x + b whose weight is stored as Ŵ,

    bias_shift = -E[(Ŵ - W) x] = -(Ŵ - W) · E[x]       per output channel

where E[x] follows from the moments that BatchNormalization has kept since training, so no data is
needed (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2; here from pairs of layers to any graph, :mod:`onnxq.graph.expectations`).

A padded convolution reads zeros beyond the border, where rounding errors add nothing. What is taken
away is the mean over all positions, or that of the interior where the size of the image is not
known: single positions near the border keep an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.bias import takes_shift
from onnxq.graph.expectations import expectations, mean_response
from onnxq.graph.linear import linear_layer
from onnxq.graph.query import heavy, weight_of
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan, Use
from onnxq.plan.weight_error import weight_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.normal import Normal

__all__ = ["CorrectBiasAnalytic"]

_WEIGHT_POSITION = 1


@dataclass(frozen=True)
class CorrectBiasAnalytic(PlanPass):
    """Fills ``bias_shift`` from BatchNormalization's moments; by itself where there is no data.

    1. The layer's weight is planned as integers.
    2. The mean of what the layer reads is known.
    3. A MatMul takes a shift only where its input stays float; on integers it has no bias. Where
       other layers run on integers, a layer in float takes one into its own bias alone.
    4. A shift that the plan holds for the layer already is replaced, so a second run changes
       nothing.
    """

    name = "correct-bias-analytic"
    after = frozenset({"fit-weights", "round-weights"})
    on_request = True

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the shifts of all layers that the prior reaches."""
        layers = [node for node in context.model.graph if heavy(node) and _planned(node, plan)]
        if not context.prior:
            reason = "nothing is known of means without BatchNormalization in the model"
            return plan.with_notes([Note(NoteKind.REFUSED, self.name, "graph", reason)])
        known = expectations(context.model.graph, context.prior)
        shifts: dict[str, npt.NDArray[np.float32]] = {}
        notes: list[Note] = []
        for node in layers:
            found = _shift(node, plan, known)
            if isinstance(found, str):
                notes.append(Note(NoteKind.REFUSED, self.name, str(node.name), found))
            else:
                shifts[str(node.name)] = found
        if shifts:
            text = f"the biases of {len(shifts)} layers make up for their rounded weights"
            notes.append(Note(NoteKind.FIRED, self.name, "graph", text))
        return replace(plan.with_notes(notes), bias_shift={**plan.bias_shift, **shifts})


def _planned(node: ir.Node, plan: QuantPlan) -> bool:
    """Rule 1."""
    value = node.inputs[_WEIGHT_POSITION]
    assert value is not None
    found = plan.of(str(value.name), Use(str(node.name), _WEIGHT_POSITION))
    return found is not None and found.params is not None


def _shift(
    node: ir.Node, plan: QuantPlan, known: Mapping[ir.Value, Normal]
) -> npt.NDArray[np.float32] | str:
    """Returns the shift, float32 [out_channels], or the reason why there is none."""
    layer = linear_layer(node)
    if isinstance(layer, str):
        return layer
    moments = known.get(layer.source)
    if moments is None or moments.mean.size != layer.in_channels:
        return "the mean of what it reads is not known"
    if layer.kind == "MatMul":
        if layer.rank != 2:
            return "a MatMul is corrected at rank 2 alone"
        if plan.of(str(layer.source.name), Use(str(node.name), 0)) is not None:
            return "a MatMul on integers has no bias"
    if str(node.name) in plan.float_nodes and not takes_shift(node):
        return "it has no bias of its own"
    value = node.inputs[_WEIGHT_POSITION]
    weight = weight_of(value)
    assert value is not None
    assert weight is not None
    planned = plan.of(str(value.name), Use(str(node.name), _WEIGHT_POSITION))
    assert planned is not None
    alpha = node.attributes.get_float("alpha", 1.0) if layer.kind == "Gemm" else 1.0
    error = weight_error(np.asarray(weight, np.float32), planned).astype(np.float64) * alpha
    return np.asarray(-mean_response(layer.with_weight(error), moments.mean), np.float32)
