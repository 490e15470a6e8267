"""The head in front of NonMaxSuppression: what it reads is a table of boxes and one of scores.

Suppression decides by comparison and has no derivative; a loss behind it would jump. Where several
follow each other, as in two-stage detectors, the first counts: what the next one sees depends on it
in number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.query import descendants, is_op, shape_of, weight_of
from onnxq.graph.roles import attribute
from onnxq.tasks.head import Head, Part, ScoreForm
from onnxq.tasks.layout import Field, Layout

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["head_before_suppression"]


def head_before_suppression(model: ir.Model) -> Head | None:
    """Returns the head that the first suppression reads.

    Args:
        model: Its values are named; never changed.

    Returns:
        None where there is none in the main graph, or what it reads is not computed there.
    """
    nodes = [node for node in model.graph if is_op(node, "NonMaxSuppression")]
    behind = descendants([out for node in nodes for out in node.outputs])
    first = [node for node in nodes if node not in behind]
    if not first or not all(_reads_values(node) for node in first):
        return None
    centred = {attribute(node, "center_point_box", 0) for node in first}
    if len(centred) > 1 or len({_classes(node.inputs[1]) for node in first}) > 1:
        return None
    names = dict.fromkeys((str(node.inputs[0].name), str(node.inputs[1].name)) for node in first)  # type: ignore[union-attr]
    parts = [
        Part(Field(Layout(boxes, "rows")), Field(Layout(scores, "columns")))
        for boxes, scores in names
    ]
    return Head(tuple(parts), "centre" if centred == {1} else "corners", ScoreForm())


def _classes(scores: ir.Value | None) -> int | None:
    shape = shape_of(scores)
    return None if shape is None else shape[1]


def _reads_values(node: ir.Node) -> bool:
    return all(
        value is not None and value.name and weight_of(value) is None and value.producer()
        for value in node.inputs[:2]
    )
