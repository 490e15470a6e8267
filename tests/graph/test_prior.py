from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.affine import Affine
from onnxq.graph.prior import carry_prior, forget_lost, join_prior
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    from onnxq.graph.prior import Prior


def known(*means: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array(means, np.float32), np.full(len(means), 2.0, np.float32)


def test_an_affine_function_moves_mean_and_deviation() -> None:
    prior: Prior = {"a": known(1.0, 2.0)}
    carry_prior(prior, "a", "b", Affine(np.array([3.0, -3.0]), np.array([1.0, 0.0])))
    np.testing.assert_array_equal(prior["b"], [[4.0, -6.0], [6.0, 6.0]])


def test_of_the_unknown_nothing_is_carried() -> None:
    prior: Prior = {}
    carry_prior(prior, "a", "b", Affine(np.ones(1), np.ones(1)))
    carry_prior(None, "a", "b", Affine(np.ones(1), np.ones(1)))
    assert not prior


def test_joined_channels_stand_side_by_side() -> None:
    prior: Prior = {"a": known(1.0), "b": known(2.0, 3.0)}
    join_prior(prior, ["a", "b"], "c")
    np.testing.assert_array_equal(prior["c"], [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])


def test_what_is_known_in_part_is_not_joined() -> None:
    prior: Prior = {"a": known(1.0)}
    join_prior(prior, ["a", "b"], "c")
    join_prior(None, ["a"], "c")
    assert set(prior) == {"a"}


def test_lost_values_and_other_sizes_are_forgotten() -> None:
    source = build(
        "f (float[N,2,3] x) => (float[N,2,3] y) { a = Relu(x) b = ReduceSum<keepdims=0>(a)"
        " y = Add(a, b) }"
    )
    source.graph.node("node_y").outputs[0].shape = None
    prior: Prior = {
        "x": known(1.0, 2.0),
        "a": known(1.0, 2.0, 3.0),
        "b": known(1.0),
        "y": known(1.0, 2.0, 3.0),
        "gone": known(1.0, 2.0),
    }
    forget_lost(prior, source.graph)
    assert set(prior) == {"x", "y"}
