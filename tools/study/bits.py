"""Bits chosen by sensitivity, uniform ones and a random choice: which trials tell, and how."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import numpy as np

from onnxq.search.width_costs import WidthCosts, width_costs
from tools.study.bit_table import RANDOM
from tools.study.trials import Measured, Trial, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import onnx_ir as ir

    from tools.study.case import Case

__all__ = ["Plan", "measure_bits", "random_costs"]

_AVERAGES = (3.0, 5.0, 6.5)
_UNIFORM = (2, 4, 8)
_OPSET = 25

_known: dict[tuple[str, str, int, int], WidthCosts] = {}
"""What widths cost, by case, method, seed and number of samples: the same for all budgets."""


class Plan(NamedTuple):
    """What is to be measured.

    Attributes:
        cases: Names.
        kinds: Ways to choose bits, as ``--sensitivity`` calls them; a random one is added.
        seeds: How many subsets of calibration samples.
        samples: In each.
    """

    cases: Sequence[str]
    kinds: Sequence[str]
    seeds: int
    samples: int

    def uniform(self) -> list[Trial]:
        """Returns the trials with the same bits for all layers, seed by seed."""
        return [
            self._trial(case, seed, weights=bits)
            for seed, case, bits in itertools.product(range(self.seeds), self.cases, _UNIFORM)
        ]

    def chosen(self, rows: Mapping[Trial, Measured]) -> list[Trial]:
        """Returns those with bits of their own; of uniform weights' size where that is known."""
        return [
            self._trial(case, seed, budget=budget, sensitivity=kind)
            for seed, case in itertools.product(range(self.seeds), self.cases)
            for budget in self._budgets(case, seed, rows)
            for kind in (*self.kinds, RANDOM)
        ]

    def _budgets(self, case: str, seed: int, rows: Mapping[Trial, Measured]) -> Iterator[str]:
        for bits in _UNIFORM[:-1]:
            found = rows.get(self._trial(case, seed, weights=bits))
            if found is not None and not found.error:
                yield f"size={math.ceil(found.size * 1e5) / 1e5:g}x"
        yield from (f"avg-weight-bits={bits:g}" for bits in _AVERAGES)

    def _trial(self, case: str, seed: int, **options: int | str) -> Trial:
        return Trial.of(case, {"opset": _OPSET, **options}, seed, self.samples)


def measure_bits(trial: Trial, case: Case, plain: Measured | None = None) -> Measured:
    """Measures a trial; random costs take the place of the estimate where that is its name."""
    options = dict(trial.options)
    kind = str(options.get("sensitivity", ""))
    if kind == RANDOM:
        del options["sensitivity"]
        costs = random_costs(trial.seed)
    else:
        costs = _remembered((trial.case, kind, trial.seed, trial.samples))
    with mock.patch("onnxq.search.bit_search.width_costs", costs):
        return measure(Trial.of(trial.case, options, trial.seed, trial.samples), case, plain)


def _remembered(key: tuple[str, str, int, int]) -> Callable[..., WidthCosts]:
    def costs(*given: Any, **named: Any) -> WidthCosts:  # noqa: ANN401 (passed on)
        if key not in _known:
            _known[key] = width_costs(*given, **named)
        return _known[key]

    return costs


def random_costs(seed: int) -> Callable[..., WidthCosts]:
    """Returns what gives each layer a random cost per number; a bit less costs four times as much.

    By number, so that size has no say in which layer gets the bits.
    """

    def costs(*given: Any) -> WidthCosts:  # noqa: ANN401 (as of width_costs)
        layers: Mapping[str, ir.Node] = given[2]
        rng = np.random.default_rng(seed)
        found = {}
        for name, node in layers.items():
            weight = node.inputs[1]
            assert weight is not None
            assert weight.shape is not None
            factor = math.prod(weight.shape.numpy()) * float(rng.lognormal(sigma=2))
            found[name] = {bits: factor * 4.0**-bits for bits in given[3]}
        return WidthCosts(found, RANDOM, "random")

    return costs
