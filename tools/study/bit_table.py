"""What bits chosen in several ways come to, as a table."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tools.study.trials import Measured, Trial

__all__ = ["RANDOM", "bit_table"]

RANDOM = "random"
"""Name of the choice by random sensitivities."""

_UNIFORM = "uniform"


def bit_table(rows: Mapping[Trial, Measured]) -> str:
    """Returns a Markdown table: a row for each case and size, a column for each way to choose.

    Cells hold agreement with float and the metric, in percent, means over seeds ± the standard
    deviation of the agreement; n is how many. Uniform weights stand at their own size.
    """
    cells: dict[tuple[str, str], dict[str, list[Measured]]] = {}
    sizes = {
        (trial.case, found.size): f"uniform {dict(trial.options)['weights']}"
        for trial, found in rows.items()
        if "weights" in dict(trial.options)
    }
    for trial, found in rows.items():
        options = dict(trial.options)
        budget = str(options.get("budget", ""))
        if not budget:
            where, kind = f"uniform {options['weights']}", _UNIFORM
        elif budget.startswith("size="):
            where, kind = _nearest(trial.case, found, sizes), str(options["sensitivity"])
        else:
            where, kind = (
                budget.replace("avg-weight-bits=", "average "),
                str(options["sensitivity"]),
            )
        cells.setdefault((trial.case, where), {}).setdefault(kind, []).append(found)
    kinds = [*dict.fromkeys(kind for row in cells.values() for kind in row)]
    lines = [
        f"| case | size of | file, × float | {' | '.join(kinds)} |",
        "|---" * (len(kinds) + 3) + "|",
    ]
    for (case, where), row in sorted(cells.items(), key=lambda item: _order(item[0], item[1])):
        every = [found.size for kind in row.values() for found in kind if not found.error]
        size = f"{statistics.fmean(every):.3f}" if every else "-"
        shown = " | ".join(_cell(row.get(kind, ())) for kind in kinds)
        lines.append(f"| {case} | {where} | {size} | {shown} |")
    return "\n".join(lines) + "\n"


def _nearest(case: str, found: Measured, sizes: Mapping[tuple[str, float], str]) -> str:
    """Returns which uniform weights a budget of size was taken from."""
    mine = {size: what for (name, size), what in sizes.items() if name == case}
    return mine[min(mine, key=lambda size: abs(size - found.size))]


def _order(place: tuple[str, str], row: Mapping[str, Sequence[Measured]]) -> tuple[str, float]:
    sizes = [found.size for kind in row.values() for found in kind if not found.error]
    return place[0], statistics.fmean(sizes) if sizes else 0.0


def _cell(measured: Sequence[Measured]) -> str:
    good = [found for found in measured if not found.error]
    if not good:
        return "-" if not measured else f"none of {len(measured)} can be met"
    fidelity = [found.fidelity for found in good]
    spread = f" ± {statistics.stdev(fidelity):.1f}" if len(good) > 1 else ""
    metric = statistics.fmean(found.metric for found in good)
    return f"{statistics.fmean(fidelity):.1f}{spread}, {metric:.1f}, n = {len(good)}"
