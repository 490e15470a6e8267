"""What stayed float, as a table on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from onnxq.report.units import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxq.report.summary import FloatGroup

__all__ = ["float_table"]

_SHOWN = 15


def float_table(groups: Sequence[FloatGroup], *, indent: str, more: str) -> Table:
    """Returns the first groups, a row each.

    Args:
        groups: In the order to show them.
        indent: In front of every row.
        more: Where to see the rest.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold", max_width=48)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for group in groups[:_SHOWN]:
        macs = f"{count_text(group.macs)} MACs" if group.macs else ""
        table.add_row(Text(f"{indent}{group.what}"), Text(macs), Text(group.reason))
    if len(groups) > _SHOWN:
        table.add_row(Text(f"{indent}… and {len(groups) - _SHOWN} more"), Text(), Text(more))
    return table
