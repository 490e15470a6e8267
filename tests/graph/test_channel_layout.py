"""Layouts are tried on numbers: every value is what it was, in the order that the layout says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.graph.channel_classes import channel_classes
from onnxq.graph.channel_layout import choose_layout
from onnxq.graph.channel_routing import read_routing
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.graph.channel_layout import Layout


def network(text: str, **weights: list[int]) -> ir.Model:
    """x → Conv a (8 channels), Conv b (8 channels) → ``text`` → r → Conv y, of any width."""
    declared = "".join(f", int64[{len(data)}] {name}" for name, data in weights.items())
    return build(
        f"""f (float[1,3,4,4] x, float[8,3,1,1] w, float[8,3,1,1] v, float[8,8,1,1] u,
              float[8,8,1,1] o, float[4,16,1,1] t, float[4,4,1,1] k{declared})
            => (float[1,A,B,C] y) {{
            a = Conv(x, w)
            b = Conv(x, v)
            {text} }}""",
        w=rng_weight(8, 3, 1, 1),
        v=rng_weight(8, 3, 1, 1, seed=1),
        u=rng_weight(8, 8, 1, 1, seed=2),
        o=rng_weight(8, 8, 1, 1, seed=5),
        t=rng_weight(4, 16, 1, 1, seed=3),
        k=rng_weight(4, 4, 1, 1, seed=4),
        **weights,
    )


def laid_out(source: ir.Model) -> Layout:
    """Chooses a layout and asserts that its pieces hold what the model computes."""
    routing = read_routing(source.graph)
    classes = channel_classes(source.graph, routing, {})
    layout = choose_layout(routing, classes)
    for value, pieces in layout.pieces.items():
        channels = routing.channels(value)
        held: list[tuple[str | None, int]] = []
        for piece in pieces:
            order = layout.orders.get(classes[piece.value], range(classes[piece.value].size))
            held += [(piece.value.name, order[place]) for place in range(piece.start, piece.end)]
        order = layout.orders.get(classes[value], range(len(channels)))
        assert held == [(channels[i].value.name, channels[i].number) for i in order]
    for item, order in layout.orders.items():
        assert item.pinned is None
        assert sorted(order) == list(range(item.size))
        assert list(order) != list(range(item.size))
    return layout


def pieces(layout: Layout) -> dict[str | None, int]:
    return {value.name: len(parts) for value, parts in layout.pieces.items()}


SHUFFLE = """c = Concat<axis=1>(a, b)
             m = Reshape(c, s)
             n = Transpose<perm=[0,2,1,3,4]>(m)
             r = Reshape(n, e)
             y = Conv(r, t)"""
GROUPS = {"s": [1, 2, 8, 4, 4], "e": [1, 16, 4, 4]}


def test_without_routing_nothing_is_laid_out() -> None:
    assert laid_out(network("d = Add(a, b) y = Conv(d, u)")) == ({}, {}, ())


def test_plain_concat_stays() -> None:
    layout = laid_out(network("c = Concat<axis=1>(a, b) y = Conv(c, t)"))
    assert layout.orders == {}
    assert layout.moved == ()
    assert pieces(layout) == {"c": 2}


def test_a_shuffle_in_front_of_a_convolution_becomes_a_join() -> None:
    layout = laid_out(network(SHUFFLE, **GROUPS))
    assert [value.name for value in layout.moved] == ["r"]
    assert pieces(layout) == {"r": 2}


def test_every_second_channel_lies_side_by_side() -> None:
    text = "r = Gather<axis=1>(a, i) d = Relu(r) y = Conv(d, k)"
    layout = laid_out(network(text, i=[1, 3, 5, 7]))
    assert pieces(layout) == {"r": 1}
    (order,) = layout.orders.values()
    assert {tuple(sorted(order[:4])), tuple(sorted(order[4:]))} == {(0, 2, 4, 6), (1, 3, 5, 7)}


def test_both_halves_of_a_shuffle_take_one_piece_of_each_source() -> None:
    text = SHUFFLE.replace("y = Conv(r, t)", "p, q = Split<axis=1>(r, z)")
    text += "\n d = Relu(p) e2 = Relu(q) g = Conv(d, u) h = Conv(e2, o) y = Add(g, h)"
    layout = laid_out(network(text, **GROUPS, z=[8, 8]))
    assert pieces(layout) == {"p": 2, "q": 2}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("r = Gather<axis=1>(a, i) y = Conv(r, k)", 1),
        ("d = Softmax<axis=1>(a) r = Gather<axis=1>(d, i) y = Conv(r, k)", 4),
        ("d = Softmax<axis=1>(a) r = Gather<axis=1>(d, i) y = Relu(r)", 4),
        ("r = Gather<axis=1>(a, i) y = Relu(r)", 1),
    ],
    ids=["both_free", "pinned_source", "both_pinned", "pinned_reader"],
)
def test_channels_lie_side_by_side_where_their_source_is_free(text: str, count: int) -> None:
    assert pieces(laid_out(network(text, i=[1, 3, 5, 7]))) == {"r": count}


def test_a_value_that_repeats_a_channel_is_pinned() -> None:
    source = network("r = Gather<axis=1>(a, i) y = Conv(r, k)", i=[1, 1, 5, 7])
    routing = read_routing(source.graph)
    classes = channel_classes(source.graph, routing, {})
    choose_layout(routing, classes)
    (value,) = routing.real
    assert classes[value].pinned == "'r' repeats channels or is added to others of its kind"


def test_the_same_graph_gives_the_same_layout() -> None:
    def named(layout: Layout) -> list[object]:
        orders = [(item.values[0].name, order) for item, order in layout.orders.items()]
        parts = [(v.name, [(p.value.name, p[1:]) for p in ps]) for v, ps in layout.pieces.items()]
        return [orders, parts, [value.name for value in layout.moved]]

    assert named(laid_out(network(SHUFFLE, **GROUPS))) == named(
        laid_out(network(SHUFFLE, **GROUPS))
    )
