"""Compares bits chosen by sensitivity with uniform ones and with a random choice of the same size.

    python -m tools.bit_study --store bits.jsonl                          # the shipped models
    python -m tools.bit_study --store bits.jsonl --tasks bench/tasks.py --table bits.md

Each budget is met by the integer program, once with the sensitivities that ``--sensitivity`` names
and once with random ones. Budgets are averages of stored bits, and the sizes that uniform weights
of 2 and 4 bits have. Opset 25 throughout, which stores 2 bits as such. The store holds what was
measured; a run that was stopped, or whose ``--minutes`` were over, goes on there.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from tools.study.bit_table import RANDOM, bit_table
from tools.study.cases import cases_of
from tools.study.trials import Measured, Store, Trial, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.study.case import Case

_AVERAGES = (3.0, 5.0, 6.5)
_UNIFORM = (2, 4, 8)
_OPSET = 25


def trials(
    case: str, seed: int, samples: int, kinds: list[str], store: Store
) -> Iterator[tuple[str, Trial]]:
    """Yields (kind, trial); those of the size of uniform weights once that size is known."""

    def of(**options: int | str) -> Trial:
        return Trial.of(case, {"opset": _OPSET, **options}, seed, samples)

    budgets = [f"avg-weight-bits={bits:g}" for bits in _AVERAGES]
    for bits in _UNIFORM:
        yield "uniform", of(weights=bits)
        found = store.rows.get(of(weights=bits))
        if bits != max(_UNIFORM) and found is not None and not found.error:
            budgets.append(f"size={math.ceil(found.size * 1e5) / 1e5:g}x")
    for budget, kind in itertools.product(budgets, [*kinds, RANDOM]):
        yield kind, of(budget=budget, sensitivity=kind)


def run(trial: Trial, case: Case) -> Measured:
    """Measures a trial; random sensitivities take the place of the estimate."""
    options = dict(trial.options)
    if options.get("sensitivity") != RANDOM:
        return measure(trial, case)
    del options["sensitivity"]
    costs = mock.patch("onnxq.search.width_costs.bit_costs", random_costs(trial.seed))
    with costs:
        return measure(Trial.of(trial.case, options, trial.seed, trial.samples), case)


def random_costs(seed: int) -> Callable[..., dict[str, dict[int, float]]]:
    """Returns what gives each layer a random cost per number; a bit less costs four times as much.

    By number, so that size has no say in which layer gets the bits.
    """
    rng = np.random.default_rng(seed)
    factors: dict[str, float] = {}

    def costs(*given: Any, **_: object) -> dict[str, dict[int, float]]:  # noqa: ANN401
        changes = given[3]
        for name, options in changes.items():
            size = next(iter(options.values()))[name].size
            factors.setdefault(name, size * float(rng.lognormal(sigma=2)))
        return {
            name: {bits: factors[name] * 4.0**-bits for bits in options}
            for name, options in changes.items()
        }

    return costs


def main() -> None:
    """Parses the command line, measures and writes the table."""
    options = _options()
    logging.getLogger("onnxq").setLevel(logging.ERROR)
    store, cases = Store(options.store), cases_of(options.tasks, options.case, options.limit)
    until = time.monotonic() + 60 * options.minutes
    kinds = options.sensitivity or ["quadratic"]
    for seed, case in itertools.product(range(options.seeds), cases):
        for kind, trial in trials(case.name, seed, options.samples, kinds, store):
            if trial in store.rows or options.stored or time.monotonic() > until:
                continue
            found = run(trial, case)
            store.put(trial, found)
            what = dict(trial.options).get("budget", dict(trial.options).get("weights"))
            print(
                f"{case.name} {seed} {kind} {what}: {found.fidelity:.1f} {found.metric:.1f} "
                f"{found.size:.4f} {found.error}",
                flush=True,
            )
    text = bit_table(store.rows)
    if options.table is not None:
        options.table.write_text(text)
    sys.stdout.write(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="JSON lines of what was measured")
    parser.add_argument(
        "--tasks", type=Path, help="Python file with more cases (tools.study.cases)"
    )
    parser.add_argument("--case", action="append", default=[], help="repeatable; default: all")
    parser.add_argument("--sensitivity", action="append", help="repeatable; default: quadratic")
    parser.add_argument("--seeds", type=int, default=3, help="subsets of calibration samples")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--limit", type=int, help="labelled samples at most")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no trial after this time"
    )
    parser.add_argument("--stored", action="store_true", help="measure nothing anew")
    parser.add_argument("--table", type=Path, help="Markdown table to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
