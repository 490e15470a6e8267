from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.graph.channel_routing import read_routing
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.graph.channel_routing import Routing


def graph(text: str, **weights: object) -> ir.Graph:
    declared = "".join(f", int64[{len(data)}] {name}" for name, data in weights.items())  # type: ignore[arg-type]
    return build(
        f"f (float[1,6,2,2] x{declared}) => (float[1,A,B,C] y) {{ {text} }}",
        **weights,  # type: ignore[arg-type]
    ).graph


def channels(routing: Routing, name: str) -> list[tuple[str | None, int]]:
    value = next(value for value in routing.routes if value.name == name)
    return [(channel.value.name, channel.number) for channel in routing.channels(value)]


@pytest.mark.parametrize(
    ("line", "weights", "taken"),
    [
        ("r = Slice(x, s, e, a)", {"s": [1], "e": [6], "a": [1]}, [1, 2, 3, 4, 5]),
        ("r = Slice(x, s, e, a, t)", {"s": [0], "e": [6], "a": [1], "t": [2]}, [0, 2, 4]),
        ("r = Slice(x, s, e, a)", {"s": [-2], "e": [9], "a": [-3]}, [4, 5]),
        ("r = Gather<axis=1>(x, i)", {"i": [5, 0, 0]}, [5, 0, 0]),
        ("r, q = Split<axis=1>(x, z)", {"z": [4, 2]}, [0, 1, 2, 3]),
        ("q, r = Split<axis=-3>(x, z)", {"z": [4, 2]}, [4, 5]),
        ("r = Concat<axis=1>(x, x)", {}, [0, 1, 2, 3, 4, 5] * 2),
    ],
    ids=["slice", "stride", "negative", "gather", "split", "second", "concat"],
)
def test_what_a_node_takes(line: str, weights: dict[str, list[int]], taken: list[int]) -> None:
    routing = read_routing(graph(f"{line}\n y = Relu(r)", **weights))
    assert channels(routing, "r") == [("x", number) for number in taken]
    assert [value.name for value in routing.real] == ["r"]


@pytest.mark.parametrize(
    ("line", "weights"),
    [
        ("r = Slice(x, s, e, a)", {"s": [0], "e": [1], "a": [2]}),
        ("r = Slice(x, s, e, a, t)", {"s": [5], "e": [0], "a": [1], "t": [-1]}),
        ("r = Gather<axis=2>(x, i)", {"i": [1, 0]}),
        ("r = Concat<axis=2>(x, x)", {}),
        ("r = Neg(x)", {}),
    ],
    ids=["other_axis", "backwards", "gather_rows", "concat_rows", "arithmetic"],
)
def test_other_nodes_route_nothing(line: str, weights: dict[str, list[int]]) -> None:
    routing = read_routing(graph(f"{line}\n y = Relu(r)", **weights))
    assert not routing.routes
    assert not routing.nodes


def test_values_that_only_routing_reads_are_names_for_others() -> None:
    routing = read_routing(
        graph(
            """a, b = Split<axis=1>(x, z)
               n = Neg(a)
               c = Concat<axis=1>(b, n)
               r = Gather<axis=1>(c, i)
               y = Relu(r)""",
            z=[4, 2],
            i=[5, 0, 2],
        )
    )
    assert [value.name for value in routing.real] == ["a", "r"]
    assert channels(routing, "r") == [("n", 3), ("x", 4), ("n", 0)]
    assert [node.op_type for node in routing.nodes if node.op_type == "Neg"] == []


def test_an_output_of_the_graph_is_real() -> None:
    routing = read_routing(graph("y = Concat<axis=1>(x, x)"))
    assert [value.name for value in routing.real] == ["y"]


SHUFFLE = """a = Reshape(x, s)
             b = Transpose<perm=[0,2,1,3,4]>(a)
             r = Reshape(b, t)
             y = Relu(r)"""


def test_a_shuffle_is_routing() -> None:
    source = graph(SHUFFLE, s=[1, 2, 3, 2, 2], t=[1, 6, 2, 2])
    routing = read_routing(source)
    assert channels(routing, "r") == [("x", number) for number in (0, 3, 1, 4, 2, 5)]
    (value,) = routing.real
    assert routing.shuffles_of(value) == list(routing.shuffles)
    assert {node.op_type for node in routing.nodes} == {"Reshape", "Transpose"}


def test_a_shuffle_that_is_kept_counts_as_any_node() -> None:
    source = graph(SHUFFLE, s=[1, 2, 3, 2, 2], t=[1, 6, 2, 2])
    routing = read_routing(source, kept=[source[0]])
    assert (dict(routing.routes), routing.shuffles) == ({}, ())
