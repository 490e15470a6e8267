"""SQNR along the depth of the model, as a chart."""

from __future__ import annotations

from math import ceil, floor, isfinite
from typing import TYPE_CHECKING, NamedTuple

from onnxq.report.summary import db_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnxq.report.page.rows import NodeRow

__all__ = ["Depth", "Point", "Tick", "depth"]

WIDTH, HEIGHT = 1080, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 14, 26
_STEP_DB = 10


class Point(NamedTuple):
    """A layer's end in the chart.

    Attributes:
        row: Number of its row in the table.
        runs: As in :class:`NodeRow`.
        x: Pixels from the left.
        whole: Pixels from above of the error so far.
        own: The same of the layer's own error; None where it adds none.
        text: Both in words.
    """

    row: int
    runs: str
    x: float
    whole: float
    own: float | None
    text: str


class Tick(NamedTuple):
    """A line across the chart: its number of dB, and where it is."""

    decibels: int
    y: float


class Depth(NamedTuple):
    """The chart.

    Attributes:
        points: In graph order.
        line: Through the errors so far, as in SVG.
        ticks: Lines across.
        text: What is to be seen, in words.
        width: In pixels.
        height: In pixels.
    """

    points: list[Point]
    line: str
    ticks: list[Tick]
    text: str
    width: int = WIDTH
    height: int = HEIGHT


def depth(rows: Sequence[NodeRow]) -> Depth | None:
    """Returns the chart; None where nothing that differs was measured."""
    shown = [(row, row.whole) for row in rows if row.whole is not None and isfinite(row.whole)]
    if not shown:
        return None
    own = {row.number: row.own for row, _ in shown if row.own is not None and isfinite(row.own)}
    levels = [whole for _, whole in shown] + list(own.values())
    low = floor(min(levels) / _STEP_DB) * _STEP_DB
    high = max(low + _STEP_DB, ceil(max(levels) / _STEP_DB) * _STEP_DB)
    last = max(row.number for row in rows)

    def across(number: int) -> float:
        return round(_LEFT + number / last * (WIDTH - _LEFT - _RIGHT), 1)

    def down(ratio: float) -> float:
        return round(_TOP + (high - ratio) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    points = [
        Point(
            row.number,
            row.runs,
            across(row.number),
            down(whole),
            down(own[row.number]) if row.number in own else None,
            f"{row.node}: {db_text(whole)} so far, {_told(row.own)} by itself",
        )
        for row, whole in shown
    ]
    step = _STEP_DB * max(1, (high - low) // (6 * _STEP_DB))
    ticks = [Tick(number, down(number)) for number in range(low, high + 1, step)]
    line = "M" + "L".join(f"{point.x} {point.whole}" for point in points)
    return Depth(points, line, ticks, _text(shown, own))


def _text(shown: Sequence[tuple[NodeRow, float]], own: Mapping[int, float]) -> str:
    first, last = shown[0][1], shown[-1][1]
    text = (
        f"SQNR of {len(shown)} values from {db_text(first)} near the input to {db_text(last)} at"
        " the end"
    )
    if not own:
        return text
    worst = min((row for row, _ in shown if row.number in own), key=lambda row: own[row.number])
    return f"{text}; {worst.node} adds most ({db_text(own[worst.number])})"


def _told(ratio: float | None) -> str:
    return "not measured" if ratio is None else db_text(ratio)
