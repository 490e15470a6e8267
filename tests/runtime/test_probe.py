from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.errors import ConfigError, ModelError
from onnxq.runtime.probe import (
    batched_inputs,
    check_batch,
    check_shapes,
    parse_shapes,
    probe_feed,
)
from tests.support import model

OPEN = "f (float[N, 3, H] x, float[N, H] m) => (float[N, 3, H] y) { y = Identity (x) }"
FIXED = "f (float[1, 3] x) => (float[1, 3] y) { y = Identity (x) }"


@given(st.lists(st.integers(1, 9999), min_size=1, max_size=5))
def test_a_shape_reads_as_it_is_written(shape: list[int]) -> None:
    assert parse_shapes([f"a=b={'x'.join(map(str, shape))}"]) == {"a=b": tuple(shape)}


@pytest.mark.parametrize("word", ["x", "x=", "=1x2", "x=1x", "x=0x2", "x=1,2", "x=-1", "x=1x²"])
def test_what_is_no_shape_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="not understood"):
        parse_shapes([word])


def test_one_text_is_one_shape() -> None:
    assert parse_shapes("x=2x3") == {"x": (2, 3)}


def test_a_shape_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        parse_shapes(["x=1", "x=2"])


def test_a_shape_for_no_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no input 'z'; choose one of x, m"):
        check_shapes([model(OPEN)], {"z": (1,)})


def test_a_symbolic_dimension_is_one() -> None:
    assert [a.shape for a in probe_feed(model(OPEN)).values()] == [(1, 3, 1), (1, 1)]


def test_the_batch_fills_first_dimensions_alone() -> None:
    assert [a.shape for a in probe_feed(model(OPEN), batch=4).values()] == [(4, 3, 1), (4, 1)]


def test_a_shape_fills_dimensions_of_the_same_name_elsewhere() -> None:
    feed = probe_feed(model(OPEN), shapes={"x": (2, 3, 7)})
    assert [a.shape for a in feed.values()] == [(2, 3, 7), (2, 7)]


@pytest.mark.parametrize("shape", [(1, 4, 7), (1, 3)])
def test_a_shape_that_contradicts_the_model_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="which takes Nx3xH"):
        probe_feed(model(OPEN), shapes={"x": shape})


def test_a_batch_that_the_model_fixes_otherwise_is_refused() -> None:
    with pytest.raises(ConfigError, match="--batch 4: the model fixes"):
        check_batch(model(FIXED), 4)
    check_batch(model(FIXED), 1)
    check_batch(model(OPEN), 4)


def test_inputs_with_an_open_first_dimension_can_be_joined() -> None:
    assert batched_inputs(model(OPEN)) == ["x", "m"]
    assert batched_inputs(model(FIXED)) == []


def test_the_same_seed_gives_the_same_input_whatever_its_name() -> None:
    first, again, other = (
        probe_feed(model(FIXED.replace("x", name)), seed=seed)[name]
        for name, seed in (("x", 1), ("z", 1), ("x", 2))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("float", 0.1, 1), ("float16", 0.1, 1), ("uint8", 20, 255), ("int64", 0, 1), ("bool", 0, 1)],
)
def test_numbers_fit_their_dtype(dtype: str, low: float, high: float) -> None:
    text = f"f ({dtype}[1, 500] x) => ({dtype}[1, 500] y) {{ y = Identity (x) }}"
    array = probe_feed(model(text))["x"]
    assert array.dtype == np.dtype("float32" if dtype == "float" else dtype)
    assert 0 <= array.min() <= low
    assert high / 2 < array.max() <= high


def test_text_is_refused() -> None:
    with pytest.raises(ModelError, match="'x' takes text"):
        probe_feed(model("f (string[1] x) => (string[1] y) { y = Identity (x) }"))


def test_an_input_without_a_rank_is_refused() -> None:
    source = model(FIXED)
    source.graph.inputs[0].shape = None
    with pytest.raises(ModelError, match="'x' states no type or shape"):
        probe_feed(source)
