"""Reads a graph as channels that may change places (:mod:`onnxq.graph.channel_cells`).

Every linear layer begins channels of its own, and takes its input channels in any order, if its
weight is permuted with them. What lies between passes them on, and may bind them: operators that
work number by number bind together what they combine; sums over channels (LayerNormalization,
Softmax, a product of two computed values) bind nothing but the group or the head in which they
sum. Whatever is not known binds all that it reads to its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.query import is_op, read_values
from onnxq.graph.trace_book import TraceBook
from onnxq.graph.trace_layers import rule_of
from onnxq.graph.trace_moves import MOVES

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["trace_channels"]

_BEGIN = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Expand")


def trace_channels(graph: ir.Graph) -> TraceBook:
    """Returns the labels of all values of ``graph``, its layers, and its cells.

    Args:
        graph: The main graph, sorted, with known shapes.
    """
    book = TraceBook()
    for node in graph:
        _read(node, book)
    for value in graph.outputs:
        _pin(value, book, f"'{value.name}' is a graph output")
    return book


def _read(node: ir.Node, book: TraceBook) -> None:
    rule = rule_of(node) or (MOVES.get(node.op_type) if node.domain == "" else None)
    labelled = [value for value in read_values(node) if book.of(value) is not None]
    if not labelled and not is_op(node, *_BEGIN):
        return
    made = "it knows channels by their place" if rule is None else rule(node, book)
    if isinstance(made, str):
        for value in labelled:
            _pin(value, book, f"{node.op_type} '{node.name}': {made}")
        return
    for value, labels in zip(node.outputs, made, strict=True):
        if labels is not None and labels.size > 1:
            book.enter(value, labels)


def _pin(value: ir.Value, book: TraceBook, reason: str) -> None:
    labels = book.of(value)
    if labels is not None:
        book.cells.pin(labels, reason)
