"""Which of its options each layer gets: the least loss that budgets allow, as an integer program.

With one number x of {0, 1} for each option o of each choice c,

    min Σ loss[c, o] · x[c, o]    such that    Σ_o x[c, o] = 1 for every c,
                                               Σ cost[r, c, o] · x[c, o] ≤ bound[r] for every r

(Yao et al. 2021, "HAWQ-V3: Dyadic Neural Network Quantization", section 3.4). Losses add up as long
as they are small. What a layer multiplies may have options too: its operations are those of two
choices, of a weight w and of a value v, so that for each pair of options there is a product

    y[i, j] = x[w, i] · x[v, j]:    Σ_j y[i, j] = x[w, i],   Σ_i y[i, j] = x[v, j]

Where there is a :class:`Timing`, an option also decides on which side of the
border between integers and float a node computes, and conversions between the sides cost time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from onnxq.plan.linear_program import LinearProgram
from onnxq.plan.timing import LATENCY, add_timing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from onnxq.plan.timing import Timing

__all__ = [
    "FLOAT_BITS",
    "OPERATIONS",
    "Allocation",
    "Choice",
    "Limit",
    "Option",
    "Shortage",
    "allocate",
    "cheapest",
]

FLOAT_BITS = 32
OPERATIONS = "bops"
"""The resource that products take: multiply-accumulates times the bits of both factors."""
# The solver lets conditions be missed by a millionth.
_MARGIN = 2e-6
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Option:
    """One way to store the weight of a layer.

    Attributes:
        bits: Of a number; 32 = float.
        loss: What it costs at the outputs.
        costs: Resource → how much of it is used.
        real: Whether the layer computes in float though its weight is stored in few bits.
    """

    bits: int
    loss: float
    costs: Mapping[str, float] = field(default_factory=dict)
    real: bool = False

    @property
    def coded(self) -> bool:
        """Whether the layer multiplies codes, if it can."""
        return self.bits < FLOAT_BITS and not self.real


@dataclass(frozen=True, slots=True)
class Choice:
    """A weight or a value, with all that there is to choose from.

    Attributes:
        name: Of the weight.
        options: At least one.
        nodes: Names of the nodes that read it.
        products: Of a value that layers multiply: name of a weight's choice → multiply-accumulates
            of both. They take operations by the bits of both, which no option counts.
    """

    name: str
    options: Sequence[Option]
    nodes: tuple[str, ...] = ()
    products: Mapping[str, float] = field(default_factory=dict)


class Limit(NamedTuple):
    """At most so much of a resource, in its own unit."""

    resource: str
    bound: float


@dataclass(frozen=True)
class Allocation:
    """The solution.

    Attributes:
        options: Name of the choice → what was chosen.
        loss: What all choices cost together, rounded activations included where there is a timing.
        used: Resource → how much of it all choices use together.
    """

    options: Mapping[str, Option]
    loss: float
    used: Mapping[str, float]


class Shortage(NamedTuple):
    """A budget that cannot be met.

    Attributes:
        number: The one that is missed by most, its place in the list.
        least: The least that can be reached while the others are met; where they cannot be met
            either, without them.
    """

    number: int
    least: float


def allocate(
    choices: Sequence[Choice], limits: Sequence[Limit], timing: Timing | None = None
) -> Allocation | Shortage:
    """Returns the options of least loss, or what stands in the way.

    Args:
        choices: At least one.
        limits: On resources that the options know, or on "latency" where there is ``timing``.
        timing: What nodes cost on either side; None = the side of a node is no matter of bits.
    """
    choices = _without_idle(choices, {limit.resource for limit in limits})
    for margin in (0.0, _MARGIN):
        problem = _Problem(choices, timing)
        for limit in limits:
            problem.limit(limit, margin)
        values = problem.program.solve()
        found = None if values is None else problem.allocation(values)
        if found is not None and all(found.used[r] <= (1 + _ROUNDING) * b for r, b in limits):
            return found
    missed = []
    for number, limit in enumerate(limits):
        rest = [*limits[:number], *limits[number + 1 :]]
        least = cheapest(choices, limit.resource, rest, timing).used[limit.resource]
        missed.append((least / limit.bound if limit.bound > 0 else math.inf, -number, least))
    _, number, least = max(missed)
    return Shortage(-number, least)


def _without_idle(choices: Sequence[Choice], resources: Collection[str]) -> list[Choice]:
    """Returns the choices without widths that save nothing of what is limited."""
    needed: set[str] = set()
    if OPERATIONS in resources:
        needed = {name for choice in choices if choice.products for name in choice.products}
        needed |= {choice.name for choice in choices if choice.products}

    def idle(option: Option, choice: Choice) -> bool:
        return any(
            option.bits < other.bits < FLOAT_BITS
            and option.real == other.real
            and other.loss <= option.loss
            and all(other.costs.get(r, 0) <= option.costs.get(r, 0) for r in resources)
            for other in choice.options
        )

    return [
        choice
        if choice.name in needed
        else replace(choice, options=[one for one in choice.options if not idle(one, choice)])
        for choice in choices
    ]


def cheapest(
    choices: Sequence[Choice],
    resource: str,
    limits: Sequence[Limit] = (),
    timing: Timing | None = None,
) -> Allocation:
    """Returns the options that take least of a resource, whatever they lose.

    Args:
        choices: At least one.
        resource: What to save.
        limits: On other resources; where they cannot be met, they do not count.
        timing: As for :func:`allocate`.
    """
    for kept in (limits, ()):
        problem = _Problem(choices, timing)
        for limit in kept:
            problem.limit(limit)
        found = problem.program.solve(problem.rows[resource])
        if found is not None:
            return problem.allocation(found)
    raise AssertionError("without limits there is a solution")


class _Problem:
    """The program of some choices.

    Attributes:
        program: Without limits at first.
        rows: Resource → what a unit of each variable takes of it.
    """

    def __init__(self, choices: Sequence[Choice], timing: Timing | None) -> None:
        self.program = LinearProgram()
        self.rows: dict[str, dict[int, float]] = {}
        self._choices = choices
        self._numbers: list[list[int]] = []
        coded: dict[str, dict[int, float]] = {}
        for choice in choices:
            numbers = [self.program.variable(o.loss, whole=True) for o in choice.options]
            self._numbers.append(numbers)
            self.program.require(dict.fromkeys(numbers, 1.0), least=1, most=1)
            for number, option in zip(numbers, choice.options, strict=True):
                for resource, amount in option.costs.items():
                    self.rows.setdefault(resource, {})[number] = amount
            narrow = {
                number: 1.0
                for number, option in zip(numbers, choice.options, strict=True)
                if option.coded
            }
            coded |= dict.fromkeys(choice.nodes, narrow)
        self._multiply()
        if timing is not None:
            self.rows[LATENCY] = add_timing(self.program, timing, coded)

    def _multiply(self) -> None:
        """Adds the operations of what is multiplied."""
        known = {
            choice.name: list(zip(numbers, choice.options, strict=True))
            for choice, numbers in zip(self._choices, self._numbers, strict=True)
        }
        row = self.rows.setdefault(OPERATIONS, {})
        for choice in self._choices:
            for name, macs in choice.products.items():
                of_value: dict[int, dict[int, float]] = {
                    number: {} for number, _ in known[choice.name]
                }
                for weight, stored in known[name]:
                    pairs = {}
                    for value, option in known[choice.name]:
                        pairs[value] = self.program.variable()
                        both = stored.bits * option.bits if stored.coded else FLOAT_BITS**2
                        row[pairs[value]] = macs * both
                        of_value[value][pairs[value]] = 1.0
                    self.program.require(
                        {**dict.fromkeys(pairs.values(), 1.0), weight: -1.0}, least=0, most=0
                    )
                for value, ones in of_value.items():
                    self.program.require({**ones, value: -1.0}, least=0, most=0)

    def limit(self, limit: Limit, margin: float = 0.0) -> None:
        """Bounds a resource; the row is scaled, lest the solver's tolerance means bytes."""
        scale = limit.bound or 1.0
        row = {number: amount / scale for number, amount in self.rows[limit.resource].items()}
        self.program.require(row, most=(1 - margin) * limit.bound / scale)

    def allocation(self, found: npt.NDArray[np.float64]) -> Allocation:
        """Returns what the solver's numbers mean."""
        options = {}
        for choice, numbers in zip(self._choices, self._numbers, strict=True):
            best = max(range(len(numbers)), key=lambda at, n=numbers: found[n[at]])  # type: ignore[misc]
            options[choice.name] = choice.options[best]
        used = {
            resource: float(sum(amount * found[number] for number, amount in row.items()))
            for resource, row in self.rows.items()
        }
        return Allocation(options, self.program.value(found), used)
