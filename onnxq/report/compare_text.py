"""A comparison on a terminal: the outputs, the layers, and the one that is to blame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onnxq.report.summary import db_text, fidelity_facts
from onnxq.report.units import percent_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from onnxq.report.compare_result import ComparedLayer, CompareResult

__all__ = ["compare_text", "verdict"]

_ROWS = 20
_NAME_WIDTH = 44
_LEGEND = (
    "SQNR at a layer's end against the float model: with all before it from the second model, and "
    "with its inputs from the float model; of the error: what it makes by itself at the outputs, "
    "measured for the layers worst by themselves"
)


def compare_text(compared: CompareResult) -> RenderableType:
    """Returns fidelity at the outputs, a table of layers in graph order, and a sentence."""
    parts: list[RenderableType] = [_head(compared)]
    if compared.layers:
        parts += [Text(), *_layers(compared)]
    style = "bold red" if compared.guilty is not None else ""
    return Group(*parts, Text(), Text(verdict(compared), style))


def verdict(compared: CompareResult) -> str:
    """Says in one sentence which layer is to blame."""
    worst = compared.worst
    if compared.identical:
        return "no layer is to blame: nothing differs"
    if worst is None or worst.share is None:
        return "no layer can be blamed: " + (
            "the outputs do not differ, or cannot be compared"
            if compared.layers
            else "the models have no value in common but the outputs"
        )
    levels = f"its own output keeps {db_text(worst.own)}, its input {_input(worst.before)}"
    share = f"by itself it makes {percent_text(min(worst.share, 1.0))} of the error at the outputs"
    if compared.guilty is not None:
        return f"node {worst.node} adds most of the error: {levels}; {share}"
    return f"no layer stands out; node {worst.node} adds the most: {levels}; {share}"


def _input(ratio: float) -> str:
    return "is exact" if ratio == math.inf else db_text(ratio)


def _head(compared: CompareResult) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text("compared"), Text(compared.second), Text(f"with {compared.first}"))
    count, _, source = compared.data.partition("; ")
    table.add_row(Text("data"), Text(count), Text(source))
    last = ""
    for fact in fidelity_facts(compared.fidelity):
        label = "" if fact.label == last else fact.label
        style = "yellow" if fact.tone == "doubt" else ""
        table.add_row(Text(label), Text(fact.value), Text(fact.detail, style))
        last = fact.label or last
    if compared.drawn:
        count = f"{len(compared.drawn)} pictures" if len(compared.drawn) > 1 else "1 picture"
        table.add_row(Text("drawn"), Text(count), Text(f"in {compared.drawn[0].parent}"))
    return table


def _layers(compared: CompareResult) -> list[RenderableType]:
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold", max_width=_NAME_WIDTH)
    table.add_column(no_wrap=True)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    words = ("  layer", "operator", "all before", "by itself", "of the error", "")
    table.add_row(*(Text(word, "dim") for word in words))
    shown = _shown(compared.layers)
    for layer in shown:
        share = "" if layer.share is None else percent_text(min(layer.share, 1.0))
        blamed = layer is compared.worst
        table.add_row(
            Text(f"{'►' if blamed else ' '} {layer.node}"),
            Text(layer.op),
            Text(db_text(layer.whole)),
            Text(db_text(layer.own)),
            Text(share),
            Text("channels scaled back" if layer.scaled else "", "dim"),
            style="bold" if blamed else "",
        )
    lines = [_LEGEND]
    if len(shown) < len(compared.layers):
        lines.insert(0, f"the worst {len(shown)} of {len(compared.layers)} layers; all: --json")
    return [table, *(Text(line, "dim") for line in lines)]


def _shown(layers: Sequence[ComparedLayer]) -> list[ComparedLayer]:
    """Returns the worst layers in graph order: those with shares, then the least SQNR."""

    def badness(number: int) -> tuple[float, float]:
        layer = layers[number]
        return (-(layer.share or 0.0), layer.own if not math.isnan(layer.own) else -math.inf)

    numbers = sorted(range(len(layers)), key=badness)[:_ROWS]
    return [layers[number] for number in sorted(numbers)]
