"""How well estimates rank layers by what few bits cost them, and how long that takes.

    python -m tools.sensitivity_ranks                                     # the shipped models
    python -m tools.sensitivity_ranks --tasks bench/tasks.py --case resnet20 --method quadratic

One row for each case, method and width: Spearman's rank correlation over the layers with the
measured loss of the model in which that layer alone is rounded, on up to 128 samples that the run
does not see, and the sums of both. ``--times`` measures nothing: it gives the CPU time of the
estimate and of an integer program of 100 layers with 6 options each.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from scipy.stats import spearmanr

import onnxq
from onnxq.options import SENSITIVITIES
from onnxq.plan.allocation import Allocation, Choice, Limit, Option, allocate
from onnxq.search.bit_costs import bit_costs
from onnxq.search.bit_search import BitSearch
from tools.study.cases import cases_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.study.case import Case

    Costs = dict[str, dict[int, float]]

METHODS = tuple(name for name in SENSITIVITIES if name != "auto")
_MEASURED = "measured"
_REAL = "real"
_UNSEEN = 128
# Each half of the samples judges what the other one was rounded by.
_HALVES = 2
_OPSET = 25
# With a budget of operations all widths are candidates.
_BUDGET = "bops=1x"


class _DoneError(Exception):
    """Ends a run once all is known that is asked for."""


def found_costs(case: Case, methods: Sequence[str], samples: int) -> dict[str, Costs]:
    """Returns method → weight → bits → cost, as a run of ``onnxq.optimize`` would estimate it.

    Under the name "real" stand the losses on samples that the run does not see.
    """
    others = case.calibration(0, _UNSEEN, skipped=samples)
    count = min(map(len, others.values()))
    unseen = [{name: array[at : at + 1] for name, array in others.items()} for at in range(count)]
    halves: list[dict[str, Costs]] = []

    def costs(*given: Any, **named: Any) -> Costs:  # noqa: ANN401 (passed on)
        model, loss, feeds, changes, _ = given
        found = {name: bit_costs(model, loss, feeds, changes, name, **named) for name in methods}
        found[_REAL] = bit_costs(model, loss, unseen, changes, _MEASURED, **named)
        halves.append(found)
        if len(halves) == _HALVES:
            raise _DoneError
        return found[_REAL]

    with mock.patch("onnxq.search.width_costs.bit_costs", costs):
        _run(case, samples)
    return {
        method: {
            name: {bits: sum(half[method][name][bits] for half in halves) for bits in by_bits}
            for name, by_bits in by_name.items()
        }
        for method, by_name in halves[0].items()
    }


def seconds(case: Case, samples: int) -> float:
    """Returns the CPU time of estimating the costs of all layers and widths."""
    spent = []
    original = BitSearch.front

    def front(*given: Any) -> Any:  # noqa: ANN401 (passed on)
        start = time.process_time()
        original(*given)
        spent.append(time.process_time() - start)
        raise _DoneError

    with mock.patch.object(BitSearch, "front", front):
        _run(case, samples)
    return spent[0]


def _run(case: Case, samples: int) -> None:
    try:
        onnxq.optimize(
            case.model, case.calibration(0, samples), threads=1, budget=_BUDGET, opset=_OPSET
        )
    except _DoneError:
        return


def program_seconds(layers: int = 100, options: int = 6) -> float:
    """Returns the wall time of one integer program with random costs and two budgets."""
    rng = np.random.default_rng(0)
    elements = rng.lognormal(10, 1.5, layers)
    choices = [
        Choice(
            f"w{at}",
            [
                Option(bits, float(loss) * 4.0**-bits, {"size": n * bits, "bops": n * bits**1.5})
                for bits, loss in zip(
                    range(2, 2 + options), rng.lognormal(0, 0.2, options), strict=True
                )
            ],
        )
        for at, n in enumerate(elements)
    ]
    middle = 2 + (options - 1) / 2
    limits = [
        Limit("size", float(elements.sum()) * middle),
        Limit("bops", float(elements.sum()) * middle**1.5),
    ]
    allocate(choices, limits)
    start = time.perf_counter()
    found = allocate(choices, limits)
    spent = time.perf_counter() - start
    assert isinstance(found, Allocation)
    return spent


def main() -> None:
    """Parses the command line and prints the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--tasks", type=Path, help="Python file with more cases (tools.study.cases)"
    )
    parser.add_argument("--case", action="append", default=[], help="repeatable; default: all")
    parser.add_argument(
        "--method", action="append", choices=METHODS, help="repeatable; default: all"
    )
    parser.add_argument("--samples", type=int, default=64, help="calibration samples")
    parser.add_argument("--times", action="store_true", help="measure times instead")
    options = parser.parse_args()
    logging.getLogger("onnxq").setLevel(logging.ERROR)
    if options.times:
        print(f"integer program, 100 layers with 6 options: {program_seconds():.3f} s")
    for case in cases_of(options.tasks, options.case):
        if options.times:
            print(f"{case.name}: {seconds(case, options.samples):.1f} s CPU", flush=True)
            continue
        methods = options.method or METHODS
        found = found_costs(case, methods, options.samples)
        for method in methods:
            for bits in sorted(next(iter(found[method].values()))):
                real, guess = (
                    [costs[bits] for costs in found[name].values()] for name in (_REAL, method)
                )
                rank = float(spearmanr(real, guess).statistic)
                print(
                    f"| {case.name} | {method} | {bits} | {len(real)} | {rank:.3f} | "
                    f"{sum(guess):.4g} | {sum(real):.4g} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
