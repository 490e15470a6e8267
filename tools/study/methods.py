"""One option's values against each other: which trials tell, and what they tell."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, NamedTuple

from tools.study.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tools.study.trials import Measured

__all__ = ["METHODS", "ROUNDINGS", "SETTINGS", "Plan", "methods_table", "models_table"]

FIXED = ("lp:1", "lp:1.5", "mse", "lp:2.5", "lp:3", "lp:4")
"""One p for all ranges; mse is p = 2."""

SEARCHES = ("adaptive-lp", "pd")

METHODS = ("minmax", "percentile", "kl", *FIXED, *SEARCHES)
"""What ``calibration`` can be."""

ROUNDINGS = ("nearest", "gptq", "adaround", "gptq+cd")
"""What ``rounding`` can be without gradients."""

SETTINGS: Mapping[str, Mapping[str, int | str]] = {
    "w8a8": {},
    "w8a4": {"activations": 4},
    "w4a8": {"weights": 4},
    "w3a8": {"weights": 3},
    "w4a4": {"weights": 4, "activations": 4},
}

BEST = "best fixed p"


class Plan(NamedTuple):
    """What is to be measured.

    Attributes:
        cases: Name of a case → whether it is a detector.
        settings: Some of :data:`SETTINGS`.
        methods: Values of the option.
        seeds: How many subsets of calibration samples.
        samples: How many samples there are in each.
        option: Name of the option.
    """

    cases: Mapping[str, bool]
    settings: Sequence[str]
    methods: Sequence[str]
    seeds: int
    samples: int
    option: str = "calibration"

    def trial(self, case: str, setting: str, method: str, seed: int) -> Trial:
        """Returns one trial."""
        options = {**SETTINGS[setting], self.option: method}
        return Trial.of(case, options, seed, self.samples)

    def trials(self) -> list[Trial]:
        """Returns all, seed by seed; of each seed what takes longest comes first: searches."""
        methods = sorted(self.methods, key=lambda method: method not in SEARCHES)
        return [
            self.trial(case, setting, method, seed)
            for seed in range(self.seeds)
            for method in methods
            for case in self.cases
            for setting in self.settings
        ]


class _Cell(NamedTuple):
    """One number of one method in some models.

    Attributes:
        mean: Over the models, each with the mean over its seeds.
        spread: Standard deviation over seeds, the mean over the models; NaN with one seed.
    """

    mean: float
    spread: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "-"
        return f"{self.mean:.2f}" + ("" if math.isnan(self.spread) else f" ± {self.spread:.2f}")


class _Rows:
    """What is measured of a setting, in the models of which every method is.

    Attributes:
        cases: Names of these models.
    """

    def __init__(self, plan: Plan, setting: str, rows: Mapping[Trial, Measured]) -> None:
        self._values: dict[tuple[str, str], list[Measured]] = {}
        for case in plan.cases:
            for method in plan.methods:
                trials = [plan.trial(case, setting, method, seed) for seed in range(plan.seeds)]
                found = [rows[trial] for trial in trials if trial in rows]
                self._values[case, method] = [one for one in found if not one.error]
        counts = {
            case: {len(self._values[case, method]) for method in plan.methods}
            for case in plan.cases
        }
        self.cases = [case for case, found in counts.items() if len(found) == 1 and 0 not in found]

    def seeds(self, cases: Collection[str]) -> str:
        """Returns how many seeds were measured, of the models."""
        counts = {len(found) for (case, _), found in self._values.items() if case in cases}
        return "-".join(map(str, sorted({min(counts), max(counts)}))) if counts else "0"

    def cell(self, cases: Collection[str], method: str, field: str) -> _Cell:
        """Returns a number of a method in some of the models."""
        values = [self.values(case, method, field) for case in cases]
        spreads = [statistics.stdev(seeds) for seeds in values if len(seeds) > 1]
        means = [statistics.fmean(seeds) for seeds in values if seeds]
        return _Cell(_mean(means), _mean(spreads))

    def values(self, case: str, method: str, field: str) -> list[float]:
        """Returns a number of a method in one model, for each seed."""
        if method == BEST:
            method = self.best(case)
        return [float(getattr(one, field)) for one in self._values[case, method]]

    def best(self, case: str) -> str:
        """Returns the p with the greatest mean fidelity in one model."""
        known = [method for method in FIXED if (case, method) in self._values]
        return max(known, key=lambda method: _mean(self.values(case, method, "fidelity")))


def methods_table(plan: Plan, rows: Mapping[Trial, Measured]) -> str:
    """Returns a Markdown table: a row for each setting and method, classifiers beside detectors.

    Only models of which every method is measured count. The best fixed p is each model's own,
    chosen by the labelled samples that also judge it: a bound, and no method.
    """
    head = "| setting | method |"
    for kind in ("classifiers", "detectors"):
        head += f" {kind}: fidelity | drop | SQNR, dB |"
    lines = [f"{head} seconds |", "|---" * head.count("|") + "|"]
    for setting in plan.settings:
        found = _Rows(plan, setting, rows)
        kinds = [[c for c in found.cases if plan.cases[c] is kind] for kind in (False, True)]
        fixed = [BEST] if set(FIXED) & set(plan.methods) else []
        for method in [*plan.methods, *fixed]:
            cells = [setting, method]
            for cases in kinds:
                cells += [str(found.cell(cases, method, f)) for f in ("fidelity", "drop", "sqnr")]
            cells.append(f"{found.cell(found.cases, method, 'seconds').mean:.0f}")
            lines.append("| " + " | ".join(cells) + " |")
        counted = ", ".join(f"{len(cases)} × {found.seeds(cases)} seeds" for cases in kinds)
        lines.append(f"| {setting} | *models × seeds* | {counted} |" + " |" * 6)
    return "\n".join(lines) + "\n"


def models_table(plan: Plan, rows: Mapping[Trial, Measured], field: str = "fidelity") -> str:
    """Returns a Markdown table of one number: a row for each setting and model."""
    head = f"| setting | model | {' | '.join(plan.methods)} |"
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for setting in plan.settings:
        found = _Rows(plan, setting, rows)
        for case in plan.cases:
            cells = [str(found.cell([case], method, field)) for method in plan.methods]
            lines.append("| " + " | ".join([setting, case, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan
