"""Layers are taken together between places where few values cross."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.layer_blocks import LayerBlock, layer_blocks
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    from collections.abc import Collection

_RESIDUAL = """f (float[1,4,4,4] x, float[4,4,1,1] w) => (float[1,4,4,4] y) {
    a = Conv(x, w)
    r = Relu(a)
    b = Conv(r, w)
    s = Relu(b)
    c = Conv(s, w)
    t = Add(c, r)
    u = Relu(t)
    d = Conv(u, w)
    v = Relu(d)
    y = Conv(v, w) }"""


def blocks(text: str, outputs: Collection[str], bad: Collection[str] = ()) -> list[LayerBlock]:
    nodes = list(build(text, w=rng_weight(4, 4, 1, 1)).graph)
    layers = {str(node.name) for node in nodes if node.op_type == "Conv"}
    return layer_blocks(nodes, outputs, layers, lambda value: value.name not in bad)


def test_a_residual_block_stays_whole_and_ends_behind_its_activation() -> None:
    first, second = blocks(_RESIDUAL, ["y"])
    assert first == LayerBlock((), ("u",), ("node_a", "node_b", "node_c"))
    assert second == LayerBlock(("u",), ("y",), ("node_d", "node_y"))


def test_a_value_that_may_not_cross_moves_the_cut() -> None:
    first, second = blocks(_RESIDUAL, ["y"], bad=["u"])
    assert first.ends == second.starts == ("t",)


def test_where_nothing_may_cross_there_is_one_block() -> None:
    (only,) = blocks(_RESIDUAL, ["y"], bad=[*"abcdrstuv"])
    assert len(only.layers) == 5


def test_many_layers_around_which_a_value_runs_are_cut_where_few_cross() -> None:
    chain = "\n".join(f"    c{i} = Conv(c{i - 1}, w)" for i in range(1, 12))
    text = f"""f (float[1,4,4,4] x, float[4,4,1,1] w) => (float[1,4,4,4] y) {{
    c0 = Conv(x, w)
{chain}
    y = Add(c11, c0) }}"""
    found = blocks(text, ["y"])
    assert len(found) > 1
    assert all("c0" in block.starts and len(block.starts) == 2 for block in found[1:])
    assert sum(len(block.layers) for block in found) == 12
    assert found[-1].ends == ("y",)


def test_an_output_on_the_way_is_an_end_of_its_block() -> None:
    first, second = blocks(_RESIDUAL, ["y", "s"])
    assert first.ends == ("u", "s")
    assert second.ends == ("y",)
