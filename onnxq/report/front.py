"""The front of a model: what bits could be had for which size, as a table, CSV and a picture."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from onnxq.report.units import bytes_text, percent_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["HEADS", "FrontPoint", "front_csv", "front_rows", "front_svg", "front_table"]

HEADS = ("bits", "size", "× float", "latency", "expected loss", "SQNR", "agreement", "box F1")
"""What the columns of a table are called."""

_WIDTH, _HEIGHT, _EDGE = 640, 280, 48


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """One choice of bits for all layers.

    Attributes:
        bits: Bits of a weight in the file, mean.
        size: Bytes of the file.
        share: The same over those of the float model.
        latency: Estimate over the float model's; None where the target's times are not known.
        loss: What it is expected to cost at the outputs, in units of ``--sensitivity``.
        sqnr: dB of the worst output on held-out samples; None = not measured, as the next two.
        agreement: Share of equal answers.
        f1: Of boxes.
    """

    bits: float
    size: int
    share: float
    latency: float | None
    loss: float
    sqnr: float | None = None
    agreement: float | None = None
    f1: float | None = None


def front_csv(points: Sequence[FrontPoint]) -> str:
    """Returns a table for programs: a line of names, and one for each point."""
    text = io.StringIO()
    names = [*asdict(FrontPoint(0, 0, 0, 0, 0))]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: "" if value is None else value for name, value in asdict(point).items()}
        for point in points
    )
    return text.getvalue()


def front_rows(points: Iterable[FrontPoint]) -> list[tuple[str, ...]]:
    """Returns the cells of :data:`HEADS` for each point."""
    return [
        (
            f"{point.bits:.2f}",
            bytes_text(point.size),
            f"{point.share:.3f}",
            "" if point.latency is None else f"{point.latency:.2f}×",
            f"{point.loss:.3g}",
            "" if point.sqnr is None else f"{point.sqnr:.1f} dB",
            "" if point.agreement is None else percent_text(point.agreement),
            "" if point.f1 is None else percent_text(point.f1),
        )
        for point in points
    ]


def front_table(points: Sequence[FrontPoint]) -> Table:
    """Returns the table for a terminal, without columns that are empty."""
    rows = front_rows(points)
    shown = [at for at in range(len(HEADS)) if any(row[at] for row in rows)]
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    for at in shown:
        table.add_column(HEADS[at], justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[at] for at in shown))
    return table


def front_svg(points: Sequence[FrontPoint]) -> str:
    """Returns a picture: size to the right, SQNR upward, of the points where it was measured."""
    seen = [(point.share, point.sqnr) for point in points if point.sqnr is not None]
    if len(seen) < 2:
        return ""
    (left, right), (low, high) = ((min(values), max(values)) for values in zip(*seen, strict=True))
    places = [
        (
            _EDGE + (x - left) / ((right - left) or 1) * (_WIDTH - 2 * _EDGE),
            _HEIGHT - _EDGE - (y - low) / ((high - low) or 1) * (_HEIGHT - 2 * _EDGE),
        )
        for x, y in seen
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="currentColor"/>'
        f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{ratio:.1f} dB</text>'
        f'<text x="{x:.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{share:.3f}×</text>'
        for (x, y), (share, ratio) in zip(places, seen, strict=True)
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" font-size="12" fill="currentColor"'
        f' role="img" aria-label="SQNR over size"><polyline points="{line}" fill="none"'
        f' stroke="currentColor"/>{dots}</svg>'
    )
