"""Computes what depends on constants alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.optimizer import FOLDED_FROM_KEY, fold_constants_ir

from onnxq.passbase import RewritePass

__all__ = ["FoldConstants"]

# A result of more elements than this is computed only if it replaces constants of its size.
_LARGE = 1 << 20
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
    | {"RandomUniformLike"}
)
# Each round folds what the one before made constant; real models need two or three.
_MAX_ROUNDS = 20


class FoldConstants(RewritePass):
    """Folds constant expressions and arithmetic on static shapes; onnxscript does the work.

    1. An expression over weights is folded whatever its size, if its result takes no more room
       than the weights it replaces (a transposed weight), or little (2^20 elements).
    2. Random values are not constants.
    3. ConstantOfShape is another pass's, which needs no memory for it.
    4. What is an output of the graph stays computed; its stated type and shape stay too.
    """

    name = "fold-constants"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Folds until nothing changes."""
        modified = False
        shapes = _shapes(model)
        signature = [(value.type, value.shape) for value in model.graph.outputs]
        for _ in range(_MAX_ROUNDS):
            before = {
                node: node.name or node.outputs[0].name or node.op_type
                for node in ir.traversal.RecursiveGraphIterator(model.graph)
            }
            folded = self._try_fold(model)
            left = set(ir.traversal.RecursiveGraphIterator(model.graph))
            for node, label in before.items():
                if node not in left:
                    self.fired(label, "folded")
            if not folded:
                break
            modified = True
        _forget_traces(model)
        for value, (value_type, shape) in zip(model.graph.outputs, signature, strict=True):
            value.type, value.shape = value_type, shape
        return ir.passes.PassResult(model, modified or shapes != _shapes(model))

    def _try_fold(self, model: ir.Model) -> bool:
        """Runs one round; True if it changed anything and another may."""
        try:
            # An infinite constant is the model's business, not a warning for the user.
            with np.errstate(all="ignore"):
                result = fold_constants_ir(
                    model,
                    onnx_shape_inference=True,
                    input_size_limit=1 << 40,
                    output_size_limit=_LARGE,
                    should_fold=_should_fold,
                )
        except RuntimeError as error:
            self.refuse(model.graph.name or "graph", str(error).splitlines()[0])
            return False
        return result.modified


def _should_fold(node: ir.Node) -> bool | None:
    leaves = any(value.is_graph_output() for value in node.outputs)
    return False if leaves or node.op_type in _RANDOM else None


def _shapes(model: ir.Model) -> list[str]:
    """Describes all values, since folding also refines shapes without saying so."""
    return [
        f"{value.name} {value.type} {value.shape}"
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
        for value in node.outputs
    ]


def _forget_traces(model: ir.Model) -> None:
    """Removes onnxscript's notes, which would be written into the file."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        node.metadata_props.pop(FOLDED_FROM_KEY, None)
        for value in node.outputs:
            value.metadata_props.pop(FOLDED_FROM_KEY, None)
    for graph in model.graphs():
        for value in graph.initializers.values():
            value.metadata_props.pop(FOLDED_FROM_KEY, None)
