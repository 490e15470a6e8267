"""What single passes change, as a table."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.study.trials import Measured

__all__ = ["Effect", "effects_table"]


class Effect(NamedTuple):
    """One pass in one run.

    Attributes:
        case: Name of the case.
        setting: Name of the setting.
        seed: Of the calibration samples.
        name: Of the pass.
        fires: Whether it changed anything.
        off: The result without it.
        on: The result with it.
    """

    case: str
    setting: str
    seed: int
    name: str
    fires: bool
    off: Measured
    on: Measured

    def gain(self, field: str) -> float:
        """Returns by how much ``field`` of the result is greater with the pass."""
        return float(getattr(self.on, field) - getattr(self.off, field))


def effects_table(effects: Sequence[Effect], runs: int) -> str:
    """Returns a Markdown table: a row for each pass and setting in which it fires anywhere.

    A case counts with the mean over its seeds, those in which the pass changes nothing too. ± is
    the standard deviation over seeds of what switching changes, the mean over the cases. A row that
    lacks a case or a seed is left out.

    Args:
        effects: Of each pass in each setting, case and seed.
        runs: Number of cases times that of seeds.
    """
    head = (
        "| pass | setting | fires in | fidelity, points | worst case | drop, points | SQNR, dB "
        "| integer share | size |"
    )
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for name, setting in dict.fromkeys((e.name, e.setting) for e in effects):
        mine = [e for e in effects if (e.name, e.setting) == (name, setting)]
        fires = {e.case for e in mine if e.fires}
        if fires and len(mine) == runs:
            counted = [e for e in mine if e.case in fires]
            lines.append(_row(name, setting, counted, len({e.case for e in mine})))
    return "\n".join(lines) + "\n"


def _row(name: str, setting: str, effects: Sequence[Effect], of: int) -> str:
    cases = dict.fromkeys(e.case for e in effects)
    fidelity = {case: _seeds(effects, case, "fidelity") for case in cases}
    means = {case: _mean(values) for case, values in fidelity.items()}
    worst = min(means, key=lambda case: (math.isnan(means[case]), means[case]))
    noise = _mean([statistics.stdev(v) for v in fidelity.values() if len(v) > 1])
    cells = [
        name,
        setting,
        f"{len(cases)} of {of}",
        f"{_signed(_mean(list(means.values())))} ± {_signed(noise).lstrip('+')}",
        f"{_signed(means[worst])} {worst}",
        *(_signed(_over_cases(effects, field)) for field in ("drop", "sqnr")),
        *(_signed(_over_cases(effects, field), 3) for field in ("integer", "size")),
    ]
    return "| " + " | ".join(cells) + " |"


def _signed(number: float, digits: int = 2) -> str:
    return f"{number:+.{digits}f}" if math.isfinite(number) else "-"


def _over_cases(effects: Sequence[Effect], field: str) -> float:
    cases = dict.fromkeys(e.case for e in effects)
    return _mean([_mean(_seeds(effects, case, field)) for case in cases])


def _seeds(effects: Sequence[Effect], case: str, field: str) -> list[float]:
    gains = [e.gain(field) for e in effects if e.case == case]
    return [gain for gain in gains if math.isfinite(gain)]


def _mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else float("nan")
