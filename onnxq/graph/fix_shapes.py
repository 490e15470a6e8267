"""Gives a model's inputs and outputs the sizes that one sample has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["fix_shapes"]


def fix_shapes(model: ir.Model, sizes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Fixes the open sizes of inputs and outputs, in place.

    What the file says of values in between is dropped where it names open sizes; shape inference
    finds it anew.

    Args:
        model: The model.
        sizes: Name of an input or output → the shape that a sample gives it.

    Returns:
        Names of those that had an open size.
    """
    graph = model.graph
    fixed = [value for value in (*graph.inputs, *graph.outputs) if _is_open(value)]
    fixed = [value for value in fixed if str(value.name) in sizes]
    for value in fixed:
        value.shape = ir.Shape(sizes[str(value.name)])
    if fixed:
        _forget(out for node in graph for out in node.outputs if out not in fixed)
    return [str(value.name) for value in fixed]


def _is_open(value: ir.Value) -> bool:
    if value.is_initializer() or not isinstance(value.type, ir.TensorType):
        return False
    return value.shape is None or any(not isinstance(dim, int) for dim in value.shape)


def _forget(values: Iterable[ir.Value]) -> None:
    for value in values:
        if value.shape is not None and _is_open(value):
            value.shape = None
