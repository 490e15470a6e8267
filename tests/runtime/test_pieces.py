from __future__ import annotations

import numpy as np

from onnxq.runtime.pieces import Piece
from tests.support import model

TEXT = """f (float[3] x, float[3] z) => (float[3] y) {
    a = Exp (x)
    b = Neg (a)
    c = Abs (b)
    y = Add (c, z) }"""


def test_a_piece_starts_at_stops_and_inputs() -> None:
    piece = Piece(model(TEXT), ["y"], ["a", "b"])

    assert sorted(piece.inputs) == ["b", "z"]
    assert [node.op_type for node in piece.nodes] == ["Abs", "Add"]


def test_it_computes_its_outputs_from_what_it_is_fed() -> None:
    one = np.ones(3, np.float32)
    fed = {"b": np.array([-1, 2, 3], np.float32), "z": one, "unused": one}

    outputs = Piece(model(TEXT), ["y"], ["b"]).run(fed)

    assert outputs["y"].tolist() == [2, 3, 4]


def test_an_output_is_never_a_stop() -> None:
    assert Piece(model(TEXT), ["b"], ["b", "a"]).inputs == ("a",)


def test_the_model_stays_as_it_is() -> None:
    source = model(TEXT)

    Piece(source, ["y"], ["b"]).run({"b": np.ones(3, np.float32), "z": np.ones(3, np.float32)})

    assert [value.name for value in source.graph.inputs] == ["x", "z"]
    assert len(source.graph) == 4
