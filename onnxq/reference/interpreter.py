"""Evaluates a graph node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.io import load
from onnxq.reference.call import Call, UnsupportedError
from onnxq.reference.kernels import KERNELS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from onnxq.graph.io import ModelSource
    from onnxq.reference.integers import Array

__all__ = ["evaluate", "run"]


def run(
    model: ModelSource,
    feeds: Mapping[str, Array],
    *,
    outputs: Sequence[str] | None = None,
    every_value: bool = False,
) -> dict[str, Array]:
    """Runs a model once.

    Args:
        model: A path, the bytes of a file, a protobuf or a model in memory; never changed.
        feeds: Input name → array, of the input's type and shape. Inputs with a default may be left
            out.
        outputs: Names of the values to return, those of inputs and weights among them; None = the
            model's outputs. Nodes that none of them needs are not run.
        every_value: Return all that nodes produce instead, in graph order.

    Returns:
        Value name → array; not to be written to, as arrays may share memory.

    Raises:
        ModelError: The model cannot be read, the feeds do not fit, an operator is unknown, or a
            result is none that ONNX defines: an integer that does not fit its type, a division by
            zero, a shift beyond the width. The message names the node.
    """
    graph = _read(model).graph
    if every_value:
        return {str(v.name): array for v, array in _evaluate(graph, feeds, _produced(graph))}
    names = [str(value.name) for value in graph.outputs] if outputs is None else outputs
    found = {str(v.name): array for v, array in _evaluate(graph, feeds, _named(graph, names))}
    return {name: found[name] for name in names}


def evaluate(
    model: ModelSource,
    feeds: Mapping[str, Array],
    wanted: Collection[str] | None = None,
    *,
    refused: Callable[[UnsupportedError], object] | None = None,
) -> Iterator[tuple[ir.Value, Array]]:
    """Yields values as they are computed, so that none is held longer than the graph needs it.

    Args:
        model: As for :func:`run`.
        feeds: As for :func:`run`.
        wanted: Names of values; None = all that nodes produce.
        refused: Is told of each node that the reference has no arithmetic for, which is left out
            with all that comes of it; None = that is an error.

    Yields:
        A value and its array.

    Raises:
        ModelError: As for :func:`run`.
    """
    graph = _read(model).graph
    asked = _produced(graph) if wanted is None else _named(graph, wanted)
    yield from _evaluate(graph, feeds, asked, refused)


def _read(model: ModelSource) -> ir.Model:
    return model if isinstance(model, ir.Model) else load(model)


def _produced(graph: ir.Graph) -> set[ir.Value]:
    return {value for node in graph for value in node.outputs if value.name}


def _named(graph: ir.Graph, names: Collection[str]) -> set[ir.Value]:
    known = {value.name: value for node in graph for value in node.outputs}
    known |= {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    for name in names:
        if name not in known:
            raise ModelError(f"there is no value '{name}' in the model")
    return {known[name] for name in names}


def _evaluate(
    graph: ir.Graph,
    feeds: Mapping[str, Array],
    wanted: set[ir.Value],
    refused: Callable[[UnsupportedError], object] | None = None,
) -> Iterator[tuple[ir.Value, Array]]:
    held = _constants(graph) | _fed(graph, feeds)
    yield from ((value, array) for value, array in held.items() if value in wanted)
    nodes = _needed(graph, wanted)
    last = {value: node for node in nodes for value in node.inputs if value is not None}
    for node in nodes:
        arrays = _attempted(node, held, refused)
        for value, array in zip(node.outputs, arrays, strict=False):
            if value in wanted:
                yield value, array
            if value in last:
                held[value] = array
        for read in {*node.inputs}:
            if read is not None and last[read] is node:
                held.pop(read, None)


def _attempted(
    node: ir.Node,
    held: Mapping[ir.Value, Array],
    refused: Callable[[UnsupportedError], object] | None,
) -> tuple[Array, ...]:
    """Returns the outputs of a node; none of one that is left out."""
    if any(value is not None and value not in held for value in node.inputs):
        return ()
    try:
        return _computed(node, held)
    except UnsupportedError as error:
        if refused is None:
            raise
        refused(error)
        return ()


def _needed(graph: ir.Graph, wanted: set[ir.Value]) -> list[ir.Node]:
    """Returns the nodes that the wanted values come of, in graph order."""
    needed, nodes = set(wanted), []
    for node in reversed(graph):
        if not needed.isdisjoint(node.outputs):
            nodes.append(node)
            needed.update(value for value in node.inputs if value is not None)
    return nodes[::-1]


def _computed(node: ir.Node, held: Mapping[ir.Value, Array]) -> tuple[Array, ...]:
    kernel = KERNELS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    call = Call(node, [None if value is None else held[value] for value in node.inputs])
    if kernel is None:
        raise call.unsupported("the reference does not know this operator")
    try:
        with np.errstate(all="ignore"):
            results = kernel(call)
    except (ValueError, IndexError) as error:
        shapes = [None if value is None else held[value].shape for value in node.inputs]
        raise call.refusal(f"its inputs, of shapes {shapes}, do not fit ({error})") from error
    return results if isinstance(results, tuple) else (results,)


def _constants(graph: ir.Graph) -> dict[ir.Value, Array]:
    return {
        value: value.const_value.numpy()
        for value in graph.initializers.values()
        if value.const_value is not None
    }


def _fed(graph: ir.Graph, feeds: Mapping[str, Array]) -> dict[ir.Value, Array]:
    """Returns the arrays of the graph's inputs, if they are what it says they are."""
    inputs = {value.name: value for value in graph.inputs}
    if unknown := sorted(set(feeds) - {str(name) for name in inputs}):
        raise ModelError(
            f"the model has no input '{unknown[0]}'; feed {', '.join(map(str, inputs))}"
        )
    fed = {}
    for name, value in inputs.items():
        if name not in feeds:
            if value.const_value is None:
                raise ModelError(f"input '{name}' is not fed")
            continue
        fed[value] = array = np.asarray(feeds[str(name)])
        if value.dtype is not None and array.dtype != value.dtype.numpy():
            raise ModelError(f"input '{name}' is {value.dtype.numpy()}, and {array.dtype} was fed")
        if not _fits(array, value.shape):
            raise ModelError(f"input '{name}' is {value.shape}, and {list(array.shape)} was fed")
    return fed


def _fits(array: Array, shape: ir.Shape | None) -> bool:
    if shape is None:
        return True
    return len(shape) == array.ndim and all(
        not isinstance(dim, int) or dim == size
        for dim, size in zip(shape, array.shape, strict=True)
    )
