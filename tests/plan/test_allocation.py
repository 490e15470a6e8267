from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.plan.allocation import Allocation, Choice, Limit, Option, Shortage, allocate
from onnxq.plan.partition import Crossing, Pairing, Sides, cost_of, integer_nodes
from onnxq.plan.timing import LATENCY, Timing
from tests.plan.test_partition import Problem, problems

AMOUNTS = st.integers(0, 50).map(float)


@st.composite
def choice_lists(draw: st.DrawFn) -> list[Choice]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        options = [
            Option(bits, draw(AMOUNTS), {"size": draw(AMOUNTS), "bops": draw(AMOUNTS)})
            for bits in range(2, 2 + draw(st.integers(1, 4)))
        ]
        found.append(Choice(f"c{number}", options))
    return found


def best(choices: list[Choice], limits: list[Limit]) -> float | None:
    losses = [
        sum(option.loss for option in chosen)
        for chosen in itertools.product(*(one.options for one in choices))
        if all(sum(o.costs[one.resource] for o in chosen) <= one.bound for one in limits)
    ]
    return min(losses, default=None)


@settings(max_examples=25, deadline=None)
@given(choice_lists(), AMOUNTS, AMOUNTS)
def test_the_least_loss_that_all_limits_allow(
    choices: list[Choice], size: float, bops: float
) -> None:
    # by a half above whole numbers: equality is a matter of rounding
    limits = [Limit("size", size + 0.5), Limit("bops", bops + 0.5)]
    wanted = best(choices, limits)

    found = allocate(choices, limits)

    if wanted is None:
        assert isinstance(found, Shortage)
        resource, bound = limits[found.number]
        assert found.least > bound
        rest = [limit for limit in limits if limit.resource != resource]
        least = best_amount(choices, resource, rest)
        assert found.least == pytest.approx(least)
    else:
        assert isinstance(found, Allocation)
        assert found.loss == pytest.approx(wanted, abs=1e-4)
        for limit in limits:
            used = sum(o.costs[limit.resource] for o in found.options.values())
            assert used == pytest.approx(found.used[limit.resource])
            assert used <= limit.bound


def best_amount(choices: list[Choice], resource: str, limits: list[Limit]) -> float:
    """The least amount beside the limits; without them where they cannot be met."""
    for kept in (limits, []):
        amounts = [
            sum(option.costs[resource] for option in chosen)
            for chosen in itertools.product(*(one.options for one in choices))
            if all(sum(o.costs[one.resource] for o in chosen) <= one.bound for one in kept)
        ]
        if amounts:
            return min(amounts)
    raise AssertionError


def test_widths_that_save_nothing_are_none() -> None:
    """3 bits are stored in 4: they are a choice where their products are counted alone."""
    options = [
        Option(3, 1e-12, {"size": 4.0, "bops": 3.0}),
        Option(4, 0.0, {"size": 4.0, "bops": 4.0}),
        Option(8, 0.0, {"size": 8.0, "bops": 8.0}),
    ]
    for limit, bits in ((Limit("size", 5.0), 4), (Limit("bops", 3.5), 3)):
        found = allocate([Choice("w", options)], [limit])
        assert isinstance(found, Allocation)
        assert found.options["w"].bits == bits


def test_choices_without_limits_take_the_least_loss() -> None:
    found = allocate([Choice("w", [Option(4, 2.0), Option(8, 1.0)])], [])

    assert isinstance(found, Allocation)
    assert found.options["w"].bits == 8


def timing_of(problem: Problem, losses: dict[str, float] | None = None) -> Timing:
    crossings = [
        Crossing(c.producer, c.consumers, c.leaves, c.quantize, c.dequantize, f"v{number}")
        for number, c in enumerate(problem.crossings)
    ]
    return Timing(problem.nodes, tuple(crossings), tuple(problem.pairings), losses or {})


@settings(max_examples=25, deadline=None)
@given(problems(), st.data())
def test_time_is_what_the_partition_says(problem: Problem, data: st.DataObject) -> None:
    timing = timing_of(problem)
    able = [name for name, sides in problem.nodes.items() if math.isfinite(sides.integer)]
    names = data.draw(st.lists(st.sampled_from(able), unique=True)) if able else []
    choices = [
        Choice(f"w_{name}", [Option(8, data.draw(AMOUNTS)), Option(32, 0.0)], (name,))
        for name in names
    ] or [Choice("w", [Option(8, 0.0)])]
    cheapest = integer_nodes(*problem)
    least = cost_of(cheapest, *problem)

    found = allocate(choices, [Limit(LATENCY, least * 1.2 + 1)], timing)

    assert isinstance(found, Allocation)
    assert found.used[LATENCY] <= (least * 1.2 + 1) * (1 + 1e-9)
    on_integers = [n for n in names if found.options[f"w_{n}"].bits == 8]
    free = {n for n in problem.nodes if n not in names}
    reached = min(
        cost_of(frozenset((*on_integers, *some)), *problem)
        for size in range(len(free) + 1)
        for some in itertools.combinations(sorted(free & {*able}), size)
        if bound(problem, {*on_integers, *some})
    )
    assert reached <= found.used[LATENCY] + 1e-3 * max(1.0, least)


def bound(problem: Problem, integer: set[str]) -> bool:
    return not any(
        math.isinf(p.cost) and p.first in integer and p.second not in integer
        for p in problem.pairings
    )


def test_too_little_time_says_the_least() -> None:
    sides = {"n": Sides(2.0, 5.0)}
    timing = Timing(sides, (Crossing(None, ("n",), False, 1.0, 1.0, "x"),), ())
    choices = [Choice("w", [Option(8, 1.0), Option(32, 0.0)], ("n",))]

    short = allocate(choices, [Limit(LATENCY, 2.5)], timing)
    assert isinstance(short, Shortage)
    assert short == pytest.approx((0, 3.0))
    on_integers, in_float = (
        allocate(choices, [Limit(LATENCY, time)], timing) for time in (4.0, 5.1)
    )
    assert isinstance(on_integers, Allocation)
    assert isinstance(in_float, Allocation)
    assert on_integers.options["w"].bits == 8
    assert in_float.options["w"].bits == 32
    assert timing.in_float == 5.0


def test_rounded_activations_cost_where_a_node_reads_or_writes_codes() -> None:
    """Both layers could run on integers, at a loss of the value between them, or neither."""
    sides = {"a": Sides(1.0, 5.0), "b": Sides(1.0, 5.0)}
    crossings = (Crossing("a", ("b",), False, 0.0, 0.0, "v"),)
    choices = [Choice(f"w{n}", [Option(8, 0.1), Option(32, 0.0)], (n,)) for n in sides]

    for time, wanted in ((10.1, 0.0), (9.0, 3.1), (2.1, 3.2)):
        timing = Timing(sides, crossings, (), {"v": 3.0})
        found = allocate(choices, [Limit(LATENCY, time)], timing)
        assert isinstance(found, Allocation)
        assert found.loss == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("bound", [40, 70, 100, 130, 200, 300, 400])
def test_operations_of_two_choices_are_products(bound: float) -> None:
    """Value v feeds two layers, u one of them no more; all combinations are tried."""
    losses = {"a": (0.5, 0.1), "b": (0.9, 0.05), "v": (0.4, 0.0), "u": (0.3, 0.0)}
    products = {"v": {"a": 1.0, "b": 2.0}, "u": {"b": 0.5}}
    choices = [
        Choice(
            name,
            [Option(bits, loss) for bits, loss in zip((4, 8), both, strict=True)],
            products=products.get(name, {}),
        )
        for name, both in losses.items()
    ]

    def operations(bits: dict[str, int]) -> float:
        return sum(
            macs * bits[v] * bits[w] for v, layers in products.items() for w, macs in layers.items()
        )

    found = allocate(choices, [Limit("bops", bound)])
    every = [dict(zip(losses, bits, strict=True)) for bits in itertools.product((4, 8), repeat=4)]
    possible = [
        sum(losses[name][bits > 4] for name, bits in one.items())
        for one in every
        if operations(one) <= bound
    ]
    if not possible:
        assert isinstance(found, Shortage)
        assert found.least == pytest.approx(operations(every[0]))
        return
    assert isinstance(found, Allocation)
    bits = {name: option.bits for name, option in found.options.items()}
    assert found.loss == pytest.approx(min(possible))
    assert found.used["bops"] == pytest.approx(operations(bits))
    assert operations(bits) <= bound


def test_a_stored_weight_is_small_and_computes_in_float() -> None:
    """It saves the loss of the rounded value, and the size of a float weight."""
    timing = Timing(
        {"n": Sides(1.0, 5.0)}, (Crossing(None, ("n",), False, 0, 0, "x"),), (), {"x": 3}
    )
    options = [
        Option(8, 0.1, {"size": 8.0}),
        Option(8, 0.1, {"size": 9.0}, real=True),
        Option(32, 0.0, {"size": 32.0}),
    ]

    def chosen(size: float, time: float) -> Option:
        limits = [Limit("size", size), Limit(LATENCY, time)]
        found = allocate([Choice("w", options, ("n",))], limits, timing)
        assert isinstance(found, Allocation)
        return found.options["w"]

    assert chosen(40, 10) is options[2]
    assert chosen(20, 10) is options[1]
    assert chosen(20, 2) is options[0]
    assert chosen(8.5, 10) is options[0]


def test_nodes_that_are_bound_go_together() -> None:
    sides = {"conv": Sides(1.0, 5.0), "relu": Sides(0.0, 0.0)}
    bound_pair = (Pairing("conv", "relu", math.inf), Pairing("relu", "conv", math.inf))
    crossings = (Crossing("relu", ("next",), False, 7.0, 7.0, "r"),)
    timing = Timing({**sides, "next": Sides(1.0, 9.0)}, crossings, bound_pair)
    choices = [Choice("w", [Option(8, 0.1), Option(32, 0.0)], ("conv",))]

    found = allocate(choices, [Limit(LATENCY, 12.0)], timing)

    assert isinstance(found, Allocation)
    assert found.options["w"].bits == 8
