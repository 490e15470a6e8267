"""Fills in the types and shapes of values."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxq.graph.stripped import strip_weights
from onnxq.passbase import RewritePass

__all__ = ["InferShapes"]


class InferShapes(RewritePass):
    """Adds what ONNX's shape inference finds out to what the model says.

    1. A size that the model states is never changed, so a dynamic batch stays dynamic under its
       own name. The model's inputs and outputs stay as they are.
    2. A name that inference made up for an unknown size is not taken over, and gives way to what is
       found later.
    3. A model that inference cannot handle stays as it is; the reason is noted.
    4. Where all is known already, inference is not asked.
    """

    name = "infer-shapes"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Infers on a copy without weights and merges by name."""
        values = _values_by_name(model)
        if all(value.type is not None and _is_whole(value.shape) for value in values.values()):
            return ir.passes.PassResult(model, modified=False)
        proto, _ = strip_weights(model)
        try:
            inferred = ir.from_proto(
                onnx.shape_inference.infer_shapes(
                    proto, check_type=False, strict_mode=False, data_prop=True
                )
            )
        except Exception as error:
            self.refuse(model.graph.name or "graph", str(error).strip().splitlines()[0])
            return ir.passes.PassResult(model, modified=False)
        found = _values_by_name(inferred)
        modified = False
        boundary = {*model.graph.inputs, *model.graph.outputs}
        for name, value in values.items():
            if name in found and value not in boundary:
                modified |= self._try_fill(value, found[name])
        return ir.passes.PassResult(model, modified)

    def _try_fill(self, value: ir.Value, found: ir.Value) -> bool:
        modified = False
        if value.type is None and found.type is not None:
            value.type = found.type
            modified = True
        merged = _merge(value.shape, found.shape)
        if merged is not None and merged != value.shape:
            value.shape = merged
            modified = True
        return modified and self.fired(value, f"is {value.type} {value.shape}")


def _values_by_name(model: ir.Model) -> dict[str, ir.Value]:
    values: dict[str, ir.Value] = {}
    for graph in model.graphs():
        for value in ir.convenience.create_value_mapping(graph, include_subgraphs=False).values():
            if value.name:
                values[value.name] = value
    return values


def _merge(stated: ir.Shape | None, found: ir.Shape | None) -> ir.Shape | None:
    if found is None or (stated is not None and len(stated) != len(found)):
        return stated
    dims = [_taken_over(dim) for dim in found]
    if stated is not None:
        dims = [
            new if new is not None and _taken_over(old) is None else old
            for old, new in zip(stated, dims, strict=True)
        ]
    return ir.Shape(dims)


def _is_whole(shape: ir.Shape | None) -> bool:
    return shape is not None and all(_taken_over(dim) is not None for dim in shape)


def _taken_over(dim: int | ir.SymbolicDim) -> int | ir.SymbolicDim | None:
    made_up = isinstance(dim, ir.SymbolicDim) and (dim.value or "unk__").startswith("unk__")
    return None if made_up else dim
