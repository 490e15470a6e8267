"""A model for one shape."""

from __future__ import annotations

import numpy as np

from onnxq.autodiff.specialize import specialize
from onnxq.graph.query import shape_of, weight_of
from tests.passes.rewrite.building import build, ops
from tests.support import assert_same_function, feeds_for

FLATTENED = (
    "f (float[N,3,4] x, int64[1] rest) => (float[] y)"
    " { s = Shape<start=0, end=1>(x) t = Concat<axis=0>(s, rest) z = Reshape(x, t) y = Relu(z) }"
)


def test_what_follows_from_shapes_is_a_weight() -> None:
    model = build(FLATTENED, rest=np.array([-1]))

    special = specialize(model, {"x": np.zeros((5, 3, 4), np.float32)})

    assert ops(special) == ["Reshape", "Relu"]
    target = weight_of(special.graph[0].inputs[1])
    assert target is not None
    assert target.tolist() == [5, -1]


def test_every_value_has_its_shape_and_dtype() -> None:
    special = specialize(build(FLATTENED, rest=np.array([-1])), feeds_for_batch(5))

    assert [shape_of(node.outputs[0]) for node in special.graph] == [(5, 12), (5, 12)]
    assert all(node.outputs[0].dtype is not None for node in special.graph)


def test_the_model_stays_as_it_is() -> None:
    model = build(FLATTENED, rest=np.array([-1]))
    before = model.clone()

    specialize(model, feeds_for_batch(2))

    assert ops(model) == ops(before)
    assert shape_of(model.graph.inputs[0]) == (None, 3, 4)


def test_the_function_stays() -> None:
    model = build(FLATTENED, rest=np.array([-1]))
    feeds = feeds_for(model, batch=3)

    assert_same_function(model, specialize(model, feeds), feeds)


def test_what_is_computed_from_a_variable_stays_computed() -> None:
    text = "f (float[3] x, float[3] w) => (float[] y) { v = Neg(w) y = Mul(x, v) }"
    model = build(text, w=np.ones(3, np.float32))
    feeds = {"x": np.ones(3, np.float32)}

    assert ops(specialize(model, feeds, variables=["w"])) == ["Neg", "Mul"]
    assert ops(specialize(model, feeds)) == ["Mul"]


def test_random_numbers_are_not_frozen() -> None:
    text = "f (float[3] x) => (float[] y) { r = RandomNormal<shape=[3]>() y = Add(x, r) }"

    assert ops(specialize(build(text), {"x": np.ones(3, np.float32)})) == ["RandomNormal", "Add"]


def feeds_for_batch(batch: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {"x": np.ones((batch, 3, 4), np.float32)}
