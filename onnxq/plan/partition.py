"""The border between integer and float nodes as a minimum cut.

Every node costs something on either side, and every value that crosses the border costs a
conversion, paid once however many consumers it has. The cheapest assignment is a minimum s-t cut
(Picard and Queyranne 1980, "On the structure of all minimum cuts in a network"): the source side is
integer, the sink side float. For a value with producer p and consumers C,

* an auxiliary node a with p → a (dequantization cost) and a → c (infinite) for c ∈ C pays once when
  p is integer and any consumer is float;
* an auxiliary node b with c → b (infinite) and b → p (quantization cost) pays once when p is float
  and any consumer is integer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import networkx as nx
from networkx.algorithms.flow import boykov_kolmogorov

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Crossing", "Pairing", "Sides", "cost_of", "integer_nodes"]

_UNITS = 1_000_000
_INTEGER = "integer side"
_FLOAT = "float side"


@dataclass(frozen=True, slots=True)
class Sides:
    """Cost of one node on either side, in µs; ``math.inf`` forbids the side."""

    integer: float
    float: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """A value between nodes.

    Attributes:
        producer: Name of the producing node; None for a graph input, which is float.
        consumers: Names of the consuming nodes.
        leaves: Whether it is a graph output, which is float.
        quantize: Cost in µs if the producer is float and a consumer integer.
        dequantize: Cost in µs if the producer is integer and a consumer float.
        name: Of the value.
    """

    producer: str | None
    consumers: tuple[str, ...]
    leaves: bool
    quantize: float
    dequantize: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Pairing:
    """An extra cost in µs if ``first`` is integer and ``second`` float; infinite binds them."""

    first: str
    second: str
    cost: float


def _add(graph: nx.DiGraph, tail: object, head: object, capacity: float) -> None:
    if capacity <= 0:
        return
    if graph.has_edge(tail, head):
        capacity += graph[tail][head].get("capacity", math.inf) / _UNITS
    # networkx reads an edge without capacity as infinite, and is exact on integers alone
    if math.isinf(capacity):
        graph.add_edge(tail, head)
        graph[tail][head].pop("capacity", None)
    else:
        graph.add_edge(tail, head, capacity=round(capacity * _UNITS))


def integer_nodes(
    nodes: Mapping[str, Sides], crossings: Iterable[Crossing], pairings: Iterable[Pairing] = ()
) -> frozenset[str]:
    """Returns the names of the nodes that the cheapest assignment puts on the integer side."""
    graph = nx.DiGraph()
    graph.add_nodes_from((_INTEGER, _FLOAT))
    for name, cost in nodes.items():
        _add(graph, _INTEGER, ("node", name), cost.float)
        _add(graph, ("node", name), _FLOAT, cost.integer)
    for number, crossing in enumerate(crossings):
        producer = _FLOAT if crossing.producer is None else ("node", crossing.producer)
        to_float, to_integer = ("dequantize", number), ("quantize", number)
        _add(graph, producer, to_float, crossing.dequantize)
        _add(graph, to_integer, producer, crossing.quantize)
        for consumer in crossing.consumers:
            _add(graph, to_float, ("node", consumer), math.inf)
            _add(graph, ("node", consumer), to_integer, math.inf)
        if crossing.leaves:
            _add(graph, to_float, _FLOAT, math.inf)
    for pair in pairings:
        _add(graph, ("node", pair.first), ("node", pair.second), pair.cost)
    _, (integer, _) = nx.minimum_cut(graph, _INTEGER, _FLOAT, flow_func=boykov_kolmogorov)
    return frozenset(name for name in nodes if ("node", name) in integer)


def cost_of(
    integer: frozenset[str],
    nodes: Mapping[str, Sides],
    crossings: Iterable[Crossing],
    pairings: Iterable[Pairing] = (),
) -> float:
    """Returns the cost in µs of an assignment.

    Args:
        integer: Names of the nodes on the integer side.
        nodes: All nodes with their costs.
        crossings: The values between them.
        pairings: Extra costs of pairs.
    """
    total = sum(cost.integer if name in integer else cost.float for name, cost in nodes.items())
    for value in crossings:
        to_float = value.leaves or any(user not in integer for user in value.consumers)
        if value.producer in integer:
            total += value.dequantize if to_float else 0.0
        elif any(user in integer for user in value.consumers):
            total += value.quantize
    split = (p for p in pairings if p.first in integer and p.second not in integer)
    return total + sum(pair.cost for pair in split)
