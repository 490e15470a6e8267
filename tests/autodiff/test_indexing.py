"""Slice, Gather and Scatter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from onnxq.errors import ModelError
from tests.autodiff.checking import assert_gradients, assert_second_gradients
from tests.passes.rewrite.building import build

RNG = np.random.default_rng(0)
ROWS = RNG.integers(0, 4, (2, 2, 3))
PLACES = RNG.integers(0, 3, (5, 2))
SLICE = "f (float[5,6,3] x, int64[2] s, int64[2] e, int64[2] a, int64[2] t) => (float[] y)"

bounds = st.integers(-7, 7) | st.sampled_from([-(2**31), 2**31 - 1])
steps = st.sampled_from([-2, -1, 1, 1, 2, 3])


@settings(deadline=None, max_examples=50)
@given(
    starts=st.lists(bounds, min_size=2, max_size=2),
    ends=st.lists(bounds, min_size=2, max_size=2),
    step=st.lists(steps, min_size=2, max_size=2),
    axes=st.sampled_from([[0, 1], [1, 0], [-2, 0], [-3, 1]]),
)
def test_slice(starts: list[int], ends: list[int], step: list[int], axes: list[int]) -> None:
    sizes = (5, 6, 3)
    picked = [
        len(range(sizes[axis])[start:end:by])
        for start, end, by, axis in zip(starts, ends, step, axes, strict=True)
    ]
    if 0 in picked:
        return  # nothing is read
    given_arrays = {"s": starts, "e": ends, "a": axes, "t": step}
    model = build(
        f"{SLICE} {{ y = Slice(x, s, e, a, t) }}",
        **{name: np.array(values) for name, values in given_arrays.items()},
    )

    assert_gradients(model, ["x"])


def test_a_run_is_padded_back() -> None:
    text = "f (float[5] x, int64[1] s, int64[1] e) => (float[] y) { y = Slice(x, s, e) }"
    model = build(text, s=np.array([1]), e=np.array([3]))

    assert [node.op_type for node in vjp(model, ["x"]).model.graph] == ["Slice", "Pad"]
    assert_second_gradients(model, ["x"])


PICKS = {
    "all, in another order": [2, 0, 3, 1],
    "some": [3, 0],
    "a run": [1, 2],
    "from the end": [-1, 0],
    "one": 2,
    "in two dimensions": [[0, 1], [3, 2]],
    "some twice": [1, 1, 3],
}


@pytest.mark.parametrize("picks", PICKS)
def test_gather(picks: str) -> None:
    indices = np.array(PICKS[picks])
    kind = f"int64{list(indices.shape)}" if indices.ndim else "int64"
    model = build(
        f"f (float[2,4,3] x, {kind} i) => (float[] y) {{ y = Gather<axis=1>(x, i) }}", i=indices
    )

    found = assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])

    ops = {node.op_type for node in found.model.graph}
    assert ("ScatterND" in ops) == (picks == "some twice")


def test_gather_by_indices_from_outside() -> None:
    model = build("f (float[3,5] x, int32[2,2] i) => (float[] y) { y = Gather<axis=1>(x, i) }")

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


def test_gather_elements_and_back() -> None:
    text = "f (float[2,4,3] x, int64[2,2,3] i) => (float[] y) { y = GatherElements<axis=1>(x, i) }"

    assert_gradients(build(text, i=ROWS), ["x"])
    assert_second_gradients(build(text, i=ROWS), ["x"])


def test_gather_nd_and_back() -> None:
    text = "f (float[4,3,2] x, int64[5,2] i) => (float[] y) { y = GatherND(x, i) }"

    assert_gradients(build(text, i=PLACES), ["x"])
    assert_second_gradients(build(text, i=PLACES), ["x"])


def test_scatter_that_adds() -> None:
    text = "f (float[2,4,3] x, float[2,2,3] u, int64[2,2,3] i) => (float[] y)"
    model = build(f'{text} {{ y = ScatterElements<axis=1, reduction="add">(x, i, u) }}', i=ROWS)

    assert_gradients(model, ["x", "u"])
    assert_second_gradients(model, ["x", "u"])


def test_scatter_nd_that_adds() -> None:
    text = "f (float[4,3,2] x, float[5,2] u, int64[5,2] i) => (float[] y)"
    model = build(f'{text} {{ y = ScatterND<reduction="add">(x, i, u) }}', i=PLACES)

    assert_gradients(model, ["x", "u"])


def test_scatter_that_replaces_is_refused() -> None:
    text = (
        "f (float[4,3,2] x, float[5,2] u, int64[5,2] i) => (float[] y) { y = ScatterND(x, i, u) }"
    )

    with pytest.raises(ModelError, match=r"'node_y' \(ScatterND\): it replaces"):
        vjp(build(text, i=PLACES), ["u"])
