"""The shapes that a sample gives to a model's values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.graph.names import Names
from onnxq.runtime.expose import produced_values
from onnxq.runtime.session import run_model

if TYPE_CHECKING:
    from onnxq.runtime.session import Feed

__all__ = ["observed_shapes"]


def observed_shapes(model: ir.Model, feed: Feed, *, threads: int = 1) -> dict[str, tuple[int, ...]]:
    """Returns value name → shape for the inputs and all tensors of the main graph.

    The model runs once, with the shapes as outputs, so that no value lives longer than in any run.

    Args:
        model: Left as it is.
        feed: One sample.
        threads: Threads inside an operator.
    """
    copy = model.clone()
    values = {n: v for n, v in produced_values(copy).items() if not _is_no_tensor(v)}
    for value in values.values():
        value.shape = None  # what is recorded may be stale
    names = Names(copy.graph)
    nodes = [
        ir.node("Shape", [value], name=names.fresh(f"{name}_Shape"))
        for name, value in values.items()
    ]
    for name, node in zip(values, nodes, strict=True):
        node.outputs[0].name = names.fresh(f"{name}_shape")
    copy.graph.extend(nodes)
    copy.graph.outputs[:] = [node.outputs[0] for node in nodes]
    found = run_model(copy, feed, threads=threads)
    shapes = {name: tuple(array.shape) for name, array in feed.items()}
    for name, node in zip(values, nodes, strict=True):
        shapes[name] = tuple(found[str(node.outputs[0].name)].tolist())
    return shapes


def _is_no_tensor(value: ir.Value) -> bool:
    return isinstance(value.type, ir.SequenceType | ir.OptionalType)
