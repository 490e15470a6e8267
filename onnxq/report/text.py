"""The report on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onnxq.report.float_table import float_table
from onnxq.report.summary import facts, float_groups

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxq.report.result import Result

__all__ = ["text_report"]

_STYLES = {"good": "green", "bad": "bold red", "doubt": "yellow", "plain": ""}


def text_report(result: Result) -> RenderableType:
    """Returns what the command shows at its end: facts, what stayed float, warnings, the file."""
    parts: list[RenderableType] = [_facts(result)]
    groups = float_groups(result.stayed_float)
    if groups:
        parts += [
            Text(),
            Text("stayed float", "bold"),
            float_table(groups, indent="  ", more="see --report or --json"),
        ]
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


def _where(result: Result) -> Text:
    if result.path is None:
        return Text("nothing was written")
    # A path that is broken over lines cannot be copied.
    path = str(result.path)
    return Text.assemble(("written to ", "bold"), path, no_wrap=True, overflow="ignore")
