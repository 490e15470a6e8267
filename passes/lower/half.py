"""Lowering of nodes to half precision, beside integers or alone.

1. What a planned node reads becomes float16: constants are stored so, once each; values are cast,
   once each, right behind what makes them.
2. What it writes is float16. Readers in float32, and the model's outputs, get one Cast of it.
3. Inputs and outputs of the model keep their types.
4. Positions that ONNX wants in float32, such as the scales of a Resize, stay
   (``onnxq.graph.half``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.half import half_places
from onnxq.graph.qdq import GraphEditor
from onnxq.graph.query import is_op, weight_of
from onnxq.passbase import LoweringPass

if TYPE_CHECKING:
    from onnxq.graph.half import HalfPlaces
    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["LowerToHalf"]

_HALF, _FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT


class LowerToHalf(LoweringPass):
    """Makes the planned nodes compute in half precision; see the module's rules."""

    name = "lower-to-half"

    def __init__(self, plan: QuantPlan, first: LoweringPass | None = None) -> None:
        super().__init__(plan)
        self._first = first

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Returns a new model; ``model`` stays as it is."""
        model = model.clone() if self._first is None else self._first(model).model
        graph = model.graph
        opset = int(graph.opset_imports[""])
        editor = GraphEditor(graph)
        places = {
            node: found
            for node in graph
            if node.name in self.plan.half and (found := half_places(node, opset)) is not None
        }
        for node, found in places.items():
            for position in found.outputs:
                _write_half(editor, node.outputs[position], places)
        halves: dict[ir.Value, ir.Value] = {}
        for node, found in places.items():
            for position in found.inputs:
                value = node.inputs[position]
                if value is not None and value.dtype == _FLOAT:
                    if value not in halves:
                        halves[value] = _as_half(editor, value)
                    node.replace_input_with(position, halves[value])
        editor.drop_unused_constants()
        return ir.passes.PassResult(model, modified=True)


def _write_half(editor: GraphEditor, value: ir.Value, places: dict[ir.Node, HalfPlaces]) -> None:
    """Rule 2."""
    uses = [
        (user, position)
        for user, position in value.uses()
        if not is_op(user, "Shape", "Size")
        and (user not in places or position not in places[user].inputs)
    ]
    leaves, name = value.is_graph_output(), str(value.name)
    value.type = ir.TensorType(_HALF)  # a type of its own: clones share the old one
    if leaves:
        value.name = editor.fresh(f"{name}_half")
    if not uses and not leaves:
        return
    cast = editor.cast(value, _FLOAT, stem=f"{name}_float", after=value.producer())
    for user, position in uses:
        user.replace_input_with(position, cast)
    if leaves:
        cast.name = name
        outputs = editor.graph.outputs
        outputs[list(outputs).index(value)] = cast


def _as_half(editor: GraphEditor, value: ir.Value) -> ir.Value:
    """Rule 1."""
    weight = weight_of(value)
    if weight is not None:
        return editor.constant(f"{value.name}_half", weight.astype(np.float16))
    return editor.cast(value, _HALF, stem=f"{value.name}_half", after=value.producer())
