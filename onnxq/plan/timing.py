"""The time of a run as part of a linear program.

A node's number n is 1 where it computes on integers. With the times of ``onnxq.plan.placement``,

    time = Σ real + (integer - real) · n          over the nodes
         + Σ quantize · q,      q ≥ n_c - n_p     for a value of producer p and all its consumers c
         + Σ dequantize · d,    d ≥ n_p - n_c
         + Σ cost · s,          s ≥ n_a - n_b     for pairings (a, b); infinite: n_a ≤ n_b

What activations lose as they are rounded counts where one of their nodes computes on integers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxq.plan.partition import cost_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnxq.plan.linear_program import LinearProgram
    from onnxq.plan.partition import Crossing, Pairing, Sides

__all__ = ["LATENCY", "Timing", "add_timing"]

LATENCY = "latency"


@dataclass(frozen=True)
class Timing:
    """What nodes cost on integers and in float.

    Attributes:
        sides: Node name → µs on either side.
        crossings: The values between them.
        pairings: Extra costs of pairs.
        losses: Value name → loss at the outputs if it is rounded.
    """

    sides: Mapping[str, Sides]
    crossings: tuple[Crossing, ...]
    pairings: tuple[Pairing, ...]
    losses: Mapping[str, float] = field(default_factory=dict)

    @property
    def in_float(self) -> float:
        """µs of a run in float."""
        return self.of(frozenset())

    def of(self, integer: frozenset[str]) -> float:
        """Returns the µs of a run with these nodes on integers."""
        return cost_of(integer, self.sides, self.crossings, self.pairings)


def add_timing(
    program: LinearProgram, timing: Timing, coded: Mapping[str, Mapping[int, float]]
) -> dict[int, float]:
    """Adds the sides of all nodes.

    Args:
        program: To add to.
        timing: What they cost.
        coded: Node name → row that is 1 where an option puts the node on integers.

    Returns:
        What a unit of each variable adds to the time, in µs.
    """
    border = _Border(program, timing, coded)
    for value in timing.crossings:
        border.cross(value, timing.losses.get(value.name, 0.0))
    for pair in timing.pairings:
        border.pair(pair)
    return border.time


class _Border:
    """The nodes of a program.

    Attributes:
        time: What a unit of each variable adds to the time so far.
    """

    def __init__(
        self, program: LinearProgram, timing: Timing, coded: Mapping[str, Mapping[int, float]]
    ) -> None:
        self._program = program
        self._nodes: dict[str, int] = {}
        fixed = program.variable()
        program.require({fixed: 1.0}, least=1)
        self.time = {fixed: sum(sides.float for sides in timing.sides.values())}
        for name, sides in timing.sides.items():
            possible = math.isfinite(sides.integer)
            number = program.variable(whole=True, most=float(possible))
            self._nodes[name] = number
            self.time[number] = sides.integer - sides.float if possible else 0.0
            if possible and name in coded:
                row = {option: -factor for option, factor in coded[name].items()}
                program.require({number: 1.0, **row}, least=0, most=0)

    def cross(self, value: Crossing, loss: float) -> None:
        """Adds what conversions of a value cost, and what it loses as codes."""
        producer = () if value.producer is None else (self._nodes[value.producer],)
        users = tuple(self._nodes[name] for name in value.consumers)
        if producer:
            readers = (*users, None) if value.leaves else users
            self.time[self._exceeds(producer, readers)] = value.dequantize
        self.time[self._exceeds(users, producer or (None,))] = value.quantize
        if loss:
            self._exceeds((*users, *producer), (None,), loss)

    def pair(self, pair: Pairing) -> None:
        """Adds what it costs to part two nodes, or binds them."""
        if pair.first == pair.second:
            return
        first, second = self._nodes[pair.first], self._nodes[pair.second]
        if math.isinf(pair.cost):
            self._program.require({second: 1.0, first: -1.0}, least=0)
        else:
            self.time[self._exceeds((first,), (second,))] = pair.cost

    def _exceeds(self, ones: Iterable[int], others: Iterable[int | None], loss: float = 0.0) -> int:
        """Adds a variable of at least each of ``ones`` minus each of the others; None is 0."""
        number = self._program.variable(loss)
        for one, other in itertools.product(ones, others):
            row = {number: 1.0, one: -1.0}
            if other is not None and other != one:
                row[other] = 1.0
            if other != one:
                self._program.require(row, least=0)
        return number
