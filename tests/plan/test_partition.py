from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.plan.partition import Crossing, Pairing, Sides, integer_nodes


class Problem(NamedTuple):
    nodes: dict[str, Sides]
    crossings: list[Crossing]
    pairings: list[Pairing]


def cost_of(problem: Problem, integer: frozenset[str]) -> float:
    """The cost of an assignment, by the words of the classes' docstrings."""
    total = sum(
        cost.integer if name in integer else cost.float for name, cost in problem.nodes.items()
    )
    for crossing in problem.crossings:
        produced = crossing.producer in integer
        readers = [consumer in integer for consumer in crossing.consumers]
        if crossing.leaves:
            readers.append(False)
        if produced and not all(readers):
            total += crossing.dequantize
        if not produced and any(readers):
            total += crossing.quantize
    for pair in problem.pairings:
        if pair.first in integer and pair.second not in integer:
            total += pair.cost
    return total


def least_cost(problem: Problem) -> float:
    subsets = itertools.product([False, True], repeat=len(problem.nodes))
    return min(
        cost_of(problem, frozenset(itertools.compress(problem.nodes, chosen))) for chosen in subsets
    )


COSTS = st.one_of(st.integers(0, 20).map(float), st.floats(0, 1e3))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    names = [f"n{i}" for i in range(draw(st.integers(1, 7)))]
    nodes = {}
    for name in names:
        integer, real = draw(COSTS), draw(COSTS)
        if draw(st.integers(0, 4)) == 0:
            integer = math.inf
        nodes[name] = Sides(integer, real)
    crossings = []
    for number in range(-1, len(names)):
        later = names[number + 1 :]
        readers = draw(st.lists(st.sampled_from(later), unique=True)) if later else []
        leaves = draw(st.booleans()) if number >= 0 else False
        producer = names[number] if number >= 0 else None
        crossings.append(Crossing(producer, tuple(readers), leaves, draw(COSTS), draw(COSTS)))
    bound = st.one_of(COSTS, st.just(math.inf))
    pairs = draw(
        st.lists(
            st.builds(Pairing, st.sampled_from(names), st.sampled_from(names), bound), max_size=3
        )
    )
    return Problem(nodes, crossings, pairs)


@settings(max_examples=300, deadline=None)
@given(problems())
def test_no_assignment_is_cheaper(problem: Problem) -> None:
    found = cost_of(problem, integer_nodes(*problem))
    assert found == pytest.approx(least_cost(problem), rel=1e-9, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(problems())
def test_the_same_problem_has_the_same_answer(problem: Problem) -> None:
    assert integer_nodes(*problem) == integer_nodes(*problem)


def chain(*costs: tuple[float, float], conversion: float = 1.0) -> Problem:
    names = [f"n{i}" for i in range(len(costs))]
    nodes = {name: Sides(*cost) for name, cost in zip(names, costs, strict=True)}
    crossings = [Crossing(None, (names[0],), False, conversion, conversion)]
    for one, following in itertools.pairwise(names):
        crossings.append(Crossing(one, (following,), False, conversion, conversion))
    crossings.append(Crossing(names[-1], (), True, conversion, conversion))
    return Problem(nodes, crossings, [])


def test_a_gain_above_the_conversions_pays() -> None:
    assert integer_nodes(*chain((1, 3.1))) == {"n0"}
    assert integer_nodes(*chain((1, 2.9))) == frozenset()


def test_a_loss_between_two_gains_is_bridged() -> None:
    assert integer_nodes(*chain((0, 9), (1.5, 0), (0, 9))) == {"n0", "n1", "n2"}
    assert integer_nodes(*chain((0, 9), (2.5, 0), (0, 9))) == {"n0", "n2"}


def test_a_forbidden_node_stays_float_between_integer_ones() -> None:
    assert integer_nodes(*chain((0, 9), (math.inf, 0), (0, 9))) == {"n0", "n2"}


def test_a_value_is_converted_once_for_all_its_readers() -> None:
    nodes = {"p": Sides(math.inf, 0), **{f"c{i}": Sides(0, 1) for i in range(3)}}
    readers = ("c0", "c1", "c2")
    assert integer_nodes(nodes, [Crossing("p", readers, False, 2.5, 0)]) == set(readers)
    assert integer_nodes(nodes, [Crossing("p", readers, False, 3.5, 0)]) == frozenset()


def test_an_infinite_pairing_binds() -> None:
    problem = chain((0, 9), (3, 0), conversion=0.0)
    assert integer_nodes(*problem) == {"n0"}
    bound = problem._replace(pairings=[Pairing("n0", "n1", math.inf)])
    assert integer_nodes(*bound) == {"n0", "n1"}
    forbidden = bound._replace(nodes={**bound.nodes, "n1": Sides(math.inf, 0)})
    assert integer_nodes(*forbidden) == frozenset()


def test_pairings_of_the_same_nodes_add_up() -> None:
    problem = chain((0, 5), (2, 0), conversion=0.0)
    once = problem._replace(pairings=[Pairing("n0", "n1", 1.5)])
    twice = problem._replace(pairings=[Pairing("n0", "n1", 1.5)] * 2)
    assert integer_nodes(*once) == {"n0"}
    assert integer_nodes(*twice) == {"n0", "n1"}


def test_an_empty_graph_has_no_integer_nodes() -> None:
    assert integer_nodes({}, []) == frozenset()
