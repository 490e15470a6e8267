"""Switches every pass off, or on where it runs on request, and measures what that changes.

    python -m tools.ablation --store ablation.jsonl                       # the shipped models
    python -m tools.ablation --store ablation.jsonl --tasks bench/tasks.py --table ablation.md

A pass that changed nothing is not measured again: without it the result is the same. The store
holds what was measured; a run that was stopped goes on there. Labels: ``fidelity`` is agreement
with the float model (top-1, or F1 of boxes), ``drop`` is what the metric (top-1, mAP) loses.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.registry import known_passes, optional_passes
from tools.study.cases import cases_of
from tools.study.effects import Effect, effects_table
from tools.study.trials import Store, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnxq.registry import PassRow
    from tools.study.case import Case
    from tools.study.trials import Measured

SETTINGS: dict[str, dict[str, int | str]] = {
    "w8a8": {},
    "w8a8-tensor": {"weight_granularity": "tensor"},
    "w4a8": {"weights": 4},
}


def switched(names: Sequence[str] = ()) -> list[PassRow]:
    """Returns the passes that can be switched, in the order in which they run.

    Raises:
        SystemExit: A name is none of them.
    """
    optional = optional_passes()
    rows = {row.name: row for row in known_passes() if row.name in optional}
    for name in names:
        if name not in rows:
            raise SystemExit(f"no pass '{name}' can be switched; there are {', '.join(rows)}")
    return [row for row in rows.values() if not names or row.name in names]


def ablate(
    case: Case, setting: str, seed: int, passes: Sequence[PassRow], store: Store, samples: int
) -> Iterator[Effect]:
    """Yields what each pass changes in one case, as far as it is measured."""

    def get(**options: str) -> Measured | None:
        trial = Trial.of(case.name, {**SETTINGS[setting], **options}, seed, samples)
        return store.get(trial, case)

    plain = get()
    if plain is None:
        return
    for row in passes:
        off: Measured | None = plain
        on: Measured | None = plain
        if row.name in plain.fired:
            off = get(skip=row.name)
        elif row.on_request:
            on = get(passes=f"+{row.name}")
        if off is not None and on is not None:
            yield Effect(case.name, setting, seed, row.name, row.name in on.fired, off, on)


def main() -> None:
    """Parses the command line, measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="JSON lines of what was measured")
    parser.add_argument(
        "--tasks", type=Path, help="Python file with more cases (tools.study.cases)"
    )
    parser.add_argument("--case", action="append", default=[], help="repeatable; default: all")
    parser.add_argument("--pass", action="append", default=[], dest="passes", help="repeatable")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help="subsets of calibration samples")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--limit", type=int, help="labelled samples at most")
    parser.add_argument("--stored", action="store_true", help="measure nothing anew")
    parser.add_argument("--table", type=Path, help="Markdown table to write")
    options = parser.parse_args()
    passes, store = switched(options.passes), Store(options.store, closed=options.stored)
    cases = cases_of(options.tasks, options.case, options.limit)
    effects: list[Effect] = []
    for seed in range(options.seeds):
        for setting in options.setting or SETTINGS:
            for case in cases:
                for effect in ablate(case, setting, seed, passes, store, options.samples):
                    effects.append(effect)
                    print(json.dumps(effect.line()), flush=True)
    text = effects_table(effects)
    if options.table is not None:
        options.table.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
