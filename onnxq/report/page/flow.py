"""The graph as a drawing: boxes, lines, and a strip beside it that shows the whole of it."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from onnxq.report.page.layered import layered

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from onnxq.report.page.rows import NodeRow

__all__ = ["Box", "Flow", "Line", "flow"]

_HEIGHT = 34
_PITCH = 58
_MARGIN = 20
_LETTER = 7.0
_WIDEST = 190.0
_NARROWEST = 74.0
_GAP = 22.0
_KINDS = ("integer", "half", "float", "other", "end")


class Box(NamedTuple):
    """A node, in pixels.

    Attributes:
        row: Number of its row in the table; 0 for inputs and outputs of the model.
        runs: "integer", "half", "float", "other", or "end" for inputs and outputs of the model.
        title: First line.
        subtitle: Second line.
        x: Left side.
        y: Upper side.
        width: Width.
        above: Numbers of the rows that it reads.
    """

    row: int
    runs: str
    title: str
    subtitle: str
    x: float
    y: float
    width: float
    above: tuple[int, ...]


class Line(NamedTuple):
    """A line from one box down to another.

    Attributes:
        path: As in SVG.
        runs: "integer" for what is quantized or never leaves an integer kernel, "half" between
            nodes in half precision, "other" for what holds no real numbers, else "float".
    """

    path: str
    runs: str


class Mark(NamedTuple):
    """What part of some layers of the drawing runs as what, on the strip.

    Attributes:
        x: Where it starts, as a share of the strip's width.
        y: The first of the layers.
        width: As a share of the strip's width.
        height: How many layers they are.
        runs: As in :class:`Box`.
    """

    x: float
    y: int
    width: float
    height: int
    runs: str


@dataclass(frozen=True)
class Flow:
    """The drawing.

    Attributes:
        boxes: In the order of the graph.
        lines: Between them.
        marks: From above.
        levels: How many layers there are.
        width: In pixels.
        height: In pixels.
    """

    boxes: list[Box]
    lines: list[Line]
    marks: list[Mark]
    levels: int
    width: int
    height: int


class _Node(NamedTuple):
    row: int
    runs: str
    title: str
    subtitle: str
    inputs: list[int]
    values: list[str]


def flow(model: ir.Model, rows: Sequence[NodeRow], quantized: frozenset[str]) -> Flow:
    """Draws the model's main graph.

    Args:
        model: The float model as the plan knows it.
        rows: A row for each of its nodes.
        quantized: Names of the values that are integers.
    """
    nodes = _nodes(model, rows)
    widths = [_width(node) for node in nodes]
    drawn = layered([node.inputs for node in nodes], [width + _GAP for width in widths])
    boxes = [
        Box(
            node.row,
            node.runs,
            node.title,
            _short(node.subtitle, width),
            round(x - width / 2 + _MARGIN, 1),
            _MARGIN + level * _PITCH,
            width,
            tuple(dict.fromkeys(nodes[i].row for i in node.inputs if nodes[i].row)),
        )
        for node, width, x, level in zip(nodes, widths, drawn.across, drawn.layers, strict=True)
    ]
    lines = [
        Line(_path(boxes[source], boxes[target], route), _carried(nodes, source, target, quantized))
        for (source, target), route in drawn.routes.items()
    ]
    deepest = max(drawn.layers, default=0)
    height = 2 * _MARGIN + deepest * _PITCH + _HEIGHT
    width = round(drawn.width) + 2 * _MARGIN
    return Flow(boxes, lines, _marks(boxes, drawn.layers), deepest + 1, width, height)


def _nodes(model: ir.Model, rows: Sequence[NodeRow]) -> list[_Node]:
    """Returns inputs of the model, its nodes and its outputs, each behind what it reads."""
    nodes: list[_Node] = []
    homes: dict[str, int] = {}
    for value in model.graph.inputs:
        homes[str(value.name)] = len(nodes)
        nodes.append(_Node(0, "end", "input", str(value.name), [], []))
    for row, node in zip(rows, model.graph, strict=True):
        names = [str(value.name) for value in node.inputs if value is not None]
        read = [name for name in names if name in homes]
        inputs = [homes[name] for name in read]
        nodes.append(_Node(row.number, row.runs, row.op, row.node, inputs, read))
        homes.update({str(value.name): len(nodes) - 1 for value in node.outputs})
    for value in model.graph.outputs:
        name = str(value.name)
        found = [homes[name]] if name in homes else []
        nodes.append(_Node(0, "end", "output", name, found, [name] if found else []))
    return nodes


def _width(node: _Node) -> float:
    longest = max(len(node.title) + 1, len(node.subtitle))
    return min(_WIDEST, max(_NARROWEST, longest * _LETTER * 0.8 + 18))


def _short(name: str, width: float) -> str:
    """Keeps the end of a name, which tells more than its beginning."""
    most = int((width - 14) / (_LETTER * 0.8))
    return name if len(name) <= most else "…" + name[1 - most :]


def _path(source: Box, target: Box, route: Sequence[float]) -> str:
    """A line through the points of its route, vertical where it meets a layer."""
    level = round((source.y - _MARGIN) / _PITCH)
    points = [(source.x + source.width / 2, source.y + _HEIGHT)]
    for step, x in enumerate(route, 1):
        y = _MARGIN + (level + step) * _PITCH
        points += [(x + _MARGIN, y), (x + _MARGIN, y + _HEIGHT)]
    points.append((target.x + target.width / 2, target.y))
    parts = [f"M{_pair(*points[0])}"]
    for i in range(0, len(points) - 1, 2):
        (x0, y0), (x1, y1) = points[i], points[i + 1]
        middle = (y0 + y1) / 2
        straight = abs(x0 - x1) < 0.5
        parts.append(
            f"L{_pair(x1, y1)}"
            if straight
            else f"C{_pair(x0, middle)} {_pair(x1, middle)} {_pair(x1, y1)}"
        )
        if i + 2 < len(points):
            parts.append(f"L{_pair(*points[i + 2])}")
    return "".join(parts)


def _pair(x: float, y: float) -> str:
    return f"{x:.0f} {y:.0f}"


def _carried(nodes: Sequence[_Node], source: int, target: int, quantized: frozenset[str]) -> str:
    ends = nodes[source].runs, nodes[target].runs
    value = nodes[target].values[nodes[target].inputs.index(source)]
    if value in quantized or ends == ("integer", "integer"):
        return "integer"
    if ends == ("half", "half"):
        return "half"
    return "other" if ends[0] == "other" else "float"


def _marks(boxes: Sequence[Box], levels: Sequence[int]) -> list[Mark]:
    """Returns what each layer holds, layers that hold the same together."""
    held = [Counter[str]() for _ in range(max(levels, default=-1) + 1)]
    for box, level in zip(boxes, levels, strict=True):
        held[level][box.runs] += 1
    marks: list[Mark] = []
    first = 0
    for counts, same in itertools.groupby(held):
        height, x = len(list(same)), 0.0
        for runs in sorted(counts, key=_KINDS.index):
            width = counts[runs] / counts.total()
            marks.append(Mark(x, first, width, height, runs))
            x += width
        first += height
    return marks
