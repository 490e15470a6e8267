"""The report on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onnxq.report.float_table import float_table
from onnxq.report.front import front_table
from onnxq.report.ranges import HEADS, cells, chosen
from onnxq.report.summary import facts, float_groups

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxq.report.result import Result

__all__ = ["text_report"]

_RANGES_SHOWN = 10
_STYLES = {"good": "green", "bad": "bold red", "doubt": "yellow", "plain": ""}


def text_report(result: Result) -> RenderableType:
    """Returns what the command shows at its end: facts, layers and ranges of note, the file."""
    parts: list[RenderableType] = [_facts(result)]
    groups = float_groups(result.stayed_float)
    if groups:
        parts += [
            Text(),
            Text("stayed float", "bold"),
            float_table(groups, indent="  ", more="see --report or --json"),
        ]
    parts += _chosen(result)
    if result.front:
        parts += [Text(), Text("front", "bold"), Padding(front_table(result.front), (0, 2))]
    if result.warnings:
        parts.append(Text())
        parts += [Text.assemble(("warning: ", "bold yellow"), text) for text in result.warnings]
    parts += [Text(), _where(result)]
    return Group(*parts)


def _facts(result: Result) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    last = ""
    for fact in facts(result):
        style = _STYLES[fact.tone]
        label = "" if fact.label == last else fact.label
        table.add_row(Text(label), Text(fact.value), Text(fact.detail, style))
        last = fact.label or last
    return table


def _chosen(result: Result) -> list[RenderableType]:
    """What was chosen at the outputs, the greatest gains first."""
    found = chosen(result.plan)
    if not found:
        return []
    table = Table.grid(padding=(0, 2))
    table.add_row(*(Text(f"{'  ' * (not n)}{head}", "dim") for n, head in enumerate(HEADS)))
    for one in found[:_RANGES_SHOWN]:
        name, *others = cells(one)
        table.add_row(Text(f"  {name}"), *map(Text, others))
    if len(found) > _RANGES_SHOWN:
        more = f"  … and {len(found) - _RANGES_SHOWN} more"
        table.add_row(Text(more), Text(), Text("see --report or --json"))
    return [Text(), Text("chosen by the loss at the outputs", "bold"), table]


def _where(result: Result) -> Text:
    if result.path is None:
        return Text("nothing was written")
    # A path that is broken over lines cannot be copied.
    path = str(result.path)
    return Text.assemble(("written to ", "bold"), path, no_wrap=True, overflow="ignore")
