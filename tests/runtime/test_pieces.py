from __future__ import annotations

import numpy as np
import pytest

from onnxq.runtime.pieces import Piece, PieceFinder, Pieces
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, model, run

TEXT = """f (float[3] x, float[3] z) => (float[3] y) {
    a = Exp (x)
    b = Neg (a)
    c = Abs (b)
    y = Add (c, z) }"""
ONE = np.ones(3, np.float32)


def piece(outputs: list[str], stops: list[str], text: str = TEXT) -> Piece:
    return PieceFinder(model(text)).find(outputs, stops)


def test_a_piece_starts_at_stops_and_inputs() -> None:
    found = piece(["y"], ["a", "b"])

    assert sorted(found.inputs) == ["b", "z"]
    assert [node.op_type for node in found.nodes] == ["Abs", "Add"]


def test_an_output_is_never_a_stop() -> None:
    assert piece(["b"], ["b", "a"]).inputs == ("a",)


def test_it_computes_its_outputs_from_what_it_is_fed() -> None:
    fed = {"b": np.array([-1, 2, 3], np.float32), "z": ONE, "unused": ONE}

    (outputs,) = Pieces([piece(["y"], ["b"])]).run(fed)

    assert outputs["y"].tolist() == [2, 3, 4]


def test_what_one_piece_makes_does_not_reach_another() -> None:
    finder = PieceFinder(model(TEXT))
    pieces = Pieces([finder.find(["b"], ["a"]), finder.find(["y"], ["b"])])

    first, second = pieces.run({"a": ONE, "b": 5 * ONE, "z": ONE})

    assert first["b"].tolist() == [-1, -1, -1]
    assert second["y"].tolist() == [6, 6, 6]


def test_pieces_that_share_nodes_and_weights_each_see_their_own_stops() -> None:
    source = build(
        """f (float[1,4] x, float[4,4] w) => (float[1,4] y, float[1,4] z) {
            a = MatMul (x, w)
            b = MatMul (a, w)
            y = Neg (b)
            z = Abs (b) }""",
        w=rng_weight(4, 4),
    )
    finder = PieceFinder(source)
    feed = feeds_for(source)
    a = np.full((1, 4), 2, np.float32)

    whole, cut = Pieces([finder.find(["y"], []), finder.find(["z"], ["a"])]).run({**feed, "a": a})

    np.testing.assert_array_equal(whole["y"], run(source, feed)["y"])
    np.testing.assert_allclose(cut["z"], np.abs(a @ rng_weight(4, 4)), rtol=1e-6)


def test_a_body_reads_the_values_of_its_own_piece() -> None:
    text = """f (float[3] x, bool c) => (float[3] y) {
        a = Neg (x)
        y = If (c) <then_branch = t () => (float[3] p) { p = Abs (a) },
                    else_branch = e () => (float[3] q) { q = Exp (a) }> }"""
    finder = PieceFinder(model(text))
    pieces = Pieces([finder.find(["y"], ["a"]), finder.find(["y"], [])])

    fed, made = pieces.run({"a": -3 * ONE, "x": ONE, "c": np.asarray(True)})

    assert fed["y"].tolist() == [3, 3, 3]
    assert made["y"].tolist() == [1, 1, 1]


def test_the_dtype_of_an_input_is_that_of_its_array() -> None:
    text = "f (float16[3] x) => (float16[3] y) { a = Neg (x) y = Abs (a) }"

    (outputs,) = Pieces([piece(["y"], ["a"], text)]).run({"a": -ONE.astype(np.float16)})

    assert outputs["y"].dtype == np.float16


def test_no_piece_runs_nothing() -> None:
    assert Pieces([]).run({}) == []


def test_an_array_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError):
        Pieces([piece(["y"], ["b"])]).run({"b": ONE})


def test_the_model_stays_as_it_is() -> None:
    source = model(TEXT)

    Pieces([PieceFinder(source).find(["y"], ["b"])]).run({"b": ONE, "z": ONE})

    assert [value.name for value in source.graph.inputs] == ["x", "z"]
    assert [value.name for node in source.graph for value in node.outputs] == ["a", "b", "c", "y"]
