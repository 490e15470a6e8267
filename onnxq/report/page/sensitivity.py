"""What few bits would cost each layer at the outputs, as a chart."""

from __future__ import annotations

from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.report.page.rows import NodeRow

__all__ = ["Cost", "Sensitivity", "sensitivity"]

_WIDTH, _HEIGHT = 1080, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 14, 26
_DECADES = 12


class Cost(NamedTuple):
    """What one width would cost one layer.

    Attributes:
        row: Number of the layer's row in the table.
        x: Pixels from the left.
        y: Pixels from above.
        bits: The width.
        chosen: Whether the layer has it.
        text: All of it in words.
    """

    row: int
    x: float
    y: float
    bits: int
    chosen: bool
    text: str


class Sensitivity(NamedTuple):
    """The chart.

    Attributes:
        costs: In graph order, few bits first.
        ticks: (what a line across is called, pixels from above).
        widths: All widths that there are.
        text: What is to be seen, in words.
        width: In pixels.
        height: In pixels.
    """

    costs: list[Cost]
    ticks: list[tuple[str, float]]
    widths: list[int]
    text: str
    width: int = _WIDTH
    height: int = _HEIGHT


def sensitivity(plan: QuantPlan, rows: Sequence[NodeRow]) -> Sensitivity | None:
    """Returns the chart, costs on a logarithmic scale; None where no bits were chosen."""
    shown = [row for row in rows if plan.bit_costs.get(row.node)]
    losses = [
        loss
        for row in shown
        for loss in plan.bit_costs[row.node].values()
        if isfinite(loss) and loss > 0
    ]
    if not losses:
        return None
    high = ceil(log10(max(losses)))
    low = max(floor(log10(min(losses))), high - _DECADES)
    high = max(high, low + 1)

    def down(loss: float) -> float:
        level = min(max(log10(loss) if loss > 0 else low, low), high)
        return round(_TOP + (high - level) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    step = (_WIDTH - _LEFT - _RIGHT) / len(shown)
    costs = [
        Cost(
            row.number,
            round(_LEFT + (place + 0.5) * step, 1),
            down(loss),
            bits,
            bits == row.weight_bits,
            f"{row.node}: {loss:.3g} with {bits} bits{_told(bits, row)}",
        )
        for place, row in enumerate(shown)
        for bits, loss in sorted(plan.bit_costs[row.node].items())
        if isfinite(loss)
    ]
    ticks = [(f"1e{level}", down(10.0**level)) for level in range(low, high + 1)]
    widths = sorted({cost.bits for cost in costs})
    worst = min(costs, key=lambda cost: (cost.bits, cost.y))
    text = f"{len(shown)} layers; the dearest is {worst.text}"
    return Sensitivity(costs, ticks, widths, text)


def _told(bits: int, row: NodeRow) -> str:
    return ", which it has" if bits == row.weight_bits else ""
