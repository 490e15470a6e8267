"""A model for inputs of given shapes: all shapes known, and what follows from them computed.

Exported graphs compute shapes at run time (Shape → Gather → Concat → Reshape). One run shows what
comes of that, so that rules of differentiation read shapes, axes and indices as constants. The
price is that the batch size is fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxq.graph.edit import add_initializer, replace_uses
from onnxq.graph.names import Names
from onnxq.graph.query import read_values
from onnxq.runtime.expose import produced_values
from onnxq.runtime.session import run_model
from onnxq.runtime.shapes import observed_shapes

if TYPE_CHECKING:
    from collections.abc import Collection

    from onnxq.runtime.session import Feed

__all__ = ["specialize"]

_OF_SHAPES = ("Shape", "Size", "Constant")
_RANDOM = ("RandomNormal", "RandomUniform", "Multinomial", "Bernoulli")


def specialize(
    model: ir.Model, feed: Feed, *, variables: Collection[str] = (), threads: int = 1
) -> ir.Model:
    """Returns a copy of ``model`` for inputs of the shapes of ``feed``.

    In the copy every tensor has its dtype and a static shape, and what nodes that depend on data
    read of what does not is a weight. The copy shares the weights with the model.

    Args:
        model: Left as it is.
        feed: One sample; nothing but its shapes leaves a trace.
        variables: Names of weights that are no constants: what is computed from them stays so.
        threads: Threads inside an operator.

    Raises:
        ModelError: onnxruntime refuses the model or the feed.
    """
    copy = model.clone()
    shapes = observed_shapes(copy, feed, threads=threads)
    produced = produced_values(copy)
    fixed = _fixed(copy.graph, variables)
    folded = _read_by_others(copy.graph, fixed)
    untyped = [value for value in produced.values() if value.dtype is None]
    wanted = {str(value.name) for value in (*folded, *untyped)}
    found = run_model(copy, feed, sorted(wanted), threads=threads) if wanted else {}
    for value in (*copy.graph.inputs, *produced.values()):
        if value.name in shapes:
            value.shape = ir.Shape(shapes[value.name])
    for value in untyped:
        if str(value.name) in found:
            dtype = ir.DataType.from_numpy(found[str(value.name)].dtype)
            value.type = ir.TensorType(dtype)
    names = Names(copy.graph)
    for value, uses in folded.items():
        array = found[str(value.name)]
        weight = add_initializer(copy.graph, f"{value.name}_fixed", array, names=names)
        replace_uses(value, weight, uses)
    RemoveUnusedNodesPass()(copy)
    return copy


def _fixed(graph: ir.Graph, variables: Collection[str]) -> set[ir.Value]:
    """Returns what depends on no input's data and on no variable, weights included."""
    fixed = {
        value
        for name, value in graph.initializers.items()
        if name not in variables and not value.is_graph_input()
    }
    for node in graph:
        if _is_random(node) or any(value.name in variables for value in node.outputs):
            continue
        if node.op_type in _OF_SHAPES or all(value in fixed for value in read_values(node)):
            fixed.update(node.outputs)
    return fixed


def _is_random(node: ir.Node) -> bool:
    return node.domain != "" or node.op_type.startswith(_RANDOM)


def _read_by_others(
    graph: ir.Graph, fixed: Collection[ir.Value]
) -> dict[ir.Value, list[tuple[ir.Node, int]]]:
    """Returns computed values of ``fixed`` → their uses by nodes that compute something else."""
    found = {}
    for node in graph:
        for value in node.outputs:
            uses = [use for use in value.uses() if use.node.outputs[0] not in fixed]
            uses = [use for use in uses if use.node.graph is graph]
            if value in fixed and uses:
                found[value] = [(use.node, use.idx) for use in uses]
    return found
