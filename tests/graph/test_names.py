from __future__ import annotations

import numpy as np

from onnxq.graph.names import Names, fresh_name
from tests.passes.rewrite.building import build


def test_fresh_names_avoid_nodes_values_inputs_and_weights() -> None:
    source = build("f (float[3] x, float[3] w) => (float[3] y) { y = Add(x, w) }", w=np.ones(3))
    names = Names(source.graph)
    for name in ("x", "w", "y", "node_y"):
        assert names.fresh(name) == f"{name}_1"
    assert [names.fresh("new"), names.fresh("new")] == ["new", "new_1"]


def test_fresh_names_avoid_those_inside_subgraphs() -> None:
    graph = build(
        """f (bool c, float[2] x) => (float[2] y) {
            y = If(c) <
                then_branch = t () => (float[2] p) { p = Neg(x) },
                else_branch = e () => (float[2] q) { q = Relu(x) }
            > }"""
    ).graph
    assert fresh_name(graph, "new") == "new"
    assert [fresh_name(graph, name) for name in "xypq"] == ["x_1", "y_1", "p_1", "q_1"]
    assert fresh_name(graph, "node_y") == "node_y_1"


def test_a_name_that_is_not_kept_is_looked_for_anew() -> None:
    graph = build("f (float[3] x) => (float[3] y) { y = Relu(x) }").graph
    graph[0].name = "x_1"
    assert fresh_name(graph, "x") == "x_2"
