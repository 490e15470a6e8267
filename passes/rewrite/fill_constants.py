"""Turns ConstantOfShape nodes of a known shape into weights that take no memory."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from onnxq.passbase import RewritePass

__all__ = ["FillConstants"]

_LARGE = 1 << 20
_LARGEST_WEIGHT = 1 << 28
_WEIGHT_READERS = frozenset({"BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul"})


class FillConstants(RewritePass):
    """Replaces ``ConstantOfShape(constant)`` by an initializer.

    The array repeats one number with strides of zero, so that it takes no memory before it is
    written.

    1. A result of more than 2^20 elements stays a node, since it would make the file large.
    2. Except where it is the weight of a layer, up to 2^28 elements: a layer without a weight
       cannot be quantized.
    3. A result that is a graph output stays a node.
    """

    name = "fill-constants"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Walks all graphs."""
        modified = False
        for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
            if node.op_type == "ConstantOfShape" and node.domain == "":
                modified |= self._try_fill(node)
        return ir.passes.PassResult(model, modified)

    def _try_fill(self, node: ir.Node) -> bool:
        shape, result = node.inputs[0], node.outputs[0]
        constant = None if shape is None else ir.convenience.get_const_tensor(shape)
        if constant is None:
            return self.refuse(node, "its shape is computed")
        if result.is_graph_output():
            return self.refuse(node, "it is a graph output")
        dims = [int(dim) for dim in constant.numpy()]
        limit = _LARGEST_WEIGHT if _is_weight(result) else _LARGE
        if math.prod(dims) > limit:
            return self.refuse(node, f"it would hold {math.prod(dims)} numbers")
        array = np.broadcast_to(_fill_value(node), dims)
        tensor = ir.Tensor(array, name=result.name)
        weight = ir.Value(
            name=result.name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(dims),
            const_value=tensor,
        )
        graph = node.graph
        assert graph is not None
        result.replace_all_uses_with(weight)
        graph.remove(node, safe=True)
        graph.register_initializer(weight)
        return self.fired(weight, f"filled, shape {dims}")


def _fill_value(node: ir.Node) -> np.generic:
    value = node.attributes.get("value")
    if value is None:
        return np.float32(0)
    scalar: np.generic = value.as_tensor().numpy().reshape(-1)[0]
    return scalar


def _is_weight(value: ir.Value) -> bool:
    return any(
        use.idx > 0 and use.node.domain == "" and use.node.op_type in _WEIGHT_READERS
        for use in value.uses()
    )
