"""How arrays are fitted to a model's inputs, and what refuses to fit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from onnxq.data.base import InputSpec
from onnxq.data.fit import (
    as_array,
    check_dtype,
    fixed_batch,
    match_names,
    shape_text,
    stacked_shape,
    to_feed,
)
from onnxq.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt


def spec(*shape: int | None, dtype: npt.DTypeLike = np.float32, name: str = "x") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def test_shape_text_marks_symbolic_dimensions() -> None:
    assert shape_text((None, 3, 8)) == "[?, 3, 8]"
    assert shape_text((3, 8), "samples") == "[samples, 3, 8]"


def test_names_match_whatever_the_order() -> None:
    inputs = [spec(None, name="a"), spec(None, name="b")]
    assert match_names("f", ["b", "a"], inputs) == {"a": "a", "b": "b"}


def test_a_single_array_feeds_a_single_input_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        assert match_names("f.npz", ["images"], [spec(None)]) == {"x": "images"}
    assert caplog.messages == ["f.npz: array 'images' is taken for the only input 'x'"]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (["a", "c"], "f: no array for input 'b', there is a, c; give one array per input: a, b"),
        ([], "f: no array for input 'a', there is nothing; give one array per input: a, b"),
        (["a", "b", "y"], "f: array 'y' is no input of the model; give one array per input: a, b"),
    ],
    ids=["wrong", "none", "extra"],
)
def test_names_that_do_not_match_are_refused(held: list[str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        match_names("f", held, [spec(None, name="a"), spec(None, name="b")])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("shapes", "batch"),
    [
        ([(None, 3)], 1),
        ([(1, 3)], 1),
        ([(8, 3)], 8),
        ([(8, 3), (8, 5)], 8),
        ([(8, 3), (None, 5)], 8),
        ([(8, 3), (4,)], 1),
        ([()], 1),
        ([(0, 3)], 1),
    ],
    ids=["symbolic", "one", "fixed", "shared", "beside-symbolic", "unequal", "scalar", "zero"],
)
def test_fixed_batch(shapes: list[tuple[int | None, ...]], batch: int) -> None:
    assert fixed_batch([spec(*shape) for shape in shapes]) == batch


@pytest.mark.parametrize(
    ("stored", "wanted", "batch", "stacked"),
    [
        ((9, 3, 8, 8), (None, 3, 8, 8), 1, (9, 3, 8, 8)),
        ((9, 1, 3, 8, 8), (None, 3, 8, 8), 1, (9, 1, 3, 8, 8)),
        ((3, 8, 8), (1, 3, 8, 8), 1, (1, 3, 8, 8)),
        ((9, 3, 6, 7), (None, 3, None, None), 1, (9, 3, 6, 7)),
        ((9, 3), (4, 3), 4, (9, 3)),
        ((9, 4, 3), (4, 3), 4, (9, 4, 3)),
        ((9, 1, 3), (4, 3), 4, (9, 1, 3)),
        ((9,), (), 1, (9,)),
        ((9, 5), (5,), 1, (9, 5)),
        ((9, 20, 1, 7), (None, None, 7), 1, (9, 20, 1, 7)),
    ],
    ids=[
        "rows", "feeds", "one-sample", "open-size", "rows-of-batch", "whole-batches",
        "feeds-of-batch", "scalar-input", "vector-input", "sequence-first",
    ],
)  # fmt: skip
def test_stacked_shape(
    stored: tuple[int, ...], wanted: tuple[int, ...], batch: int, stacked: tuple[int, ...]
) -> None:
    assert stacked_shape("f", stored, spec(*wanted), batch) == stacked


@pytest.mark.parametrize(
    ("stored", "wanted", "batch", "message"),
    [
        (
            (9, 3, 9, 9), (None, 3, 8, 8), 1,
            ("f has shape [9, 3, 9, 9]; input 'x' wants [samples, 3, 8, 8];"
            " bring the data to that shape"),
        ),
        (
            (9, 8, 6, 3), (None, 3, 8, 6), 1,
            ("f has shape [9, 8, 6, 3]; input 'x' wants [samples, 3, 8, 6];"
            " the data looks like NHWC, transpose it"),
        ),
        (
            (9, 3, 8, 6), (1, 8, 6, 3), 1,
            ("f has shape [9, 3, 8, 6]; input 'x' wants [samples, 8, 6, 3];"
            " the data looks like NCHW, transpose it"),
        ),
        (
            (9, 192), (None, 3, 8, 8), 1,
            ("f has shape [9, 192]; input 'x' wants [samples, 3, 8, 8];"
            " bring the data to that shape"),
        ),
        (
            (9, 8, 8), (None, 1, 8, 8), 1,
            ("f has shape [9, 8, 8]; input 'x' wants [samples, 1, 8, 8];"
            " bring the data to that shape"),
        ),
        (
            (9, 3), (8, 3), 1,
            "f has shape [9, 3]; input 'x' wants [samples, 8, 3]; bring the data to that shape",
        ),
        (
            (9, 2, 3), (4, 3), 4,
            "f has shape [9, 2, 3]; input 'x' wants [samples, 3]; bring the data to that shape",
        ),
        ((0, 3), (None, 3), 1, "f holds no samples; give at least one"),
    ],
    ids=["size", "nhwc", "nchw", "flat", "no-channel", "no-common-batch", "part-batch", "empty"],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(
    stored: tuple[int, ...], wanted: tuple[int | None, ...], batch: int, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        stacked_shape("f", stored, spec(*wanted), batch)
    assert str(caught.value) == message


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 3, 8, 8)], ids=["row", "feed"])
def test_a_sample_gets_the_batch_axis_and_keeps_its_values(shape: tuple[int, ...]) -> None:
    row = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    feed = to_feed("f", row, spec(None, 3, 8, 8), 1)
    assert feed.shape == (1, 3, 8, 8)
    assert np.array_equal(feed.ravel(), row.ravel())


def test_a_feed_is_contiguous() -> None:
    row = np.zeros((8, 6, 3), np.float32).transpose(2, 0, 1)
    assert to_feed("f", row, spec(None, 3, 8, 6), 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("f8", "f4"), (">f4", "f4"), ("f4", "f2"), ("f2", "f4"), ("u1", "f4"), ("i2", "f4"),
        ("i8", "i4"), ("u2", "u1"), ("u1", "i8"), ("?", "u1"), ("f4", ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, "f4"),
    ],
)  # fmt: skip
def test_dtypes_that_can_stand_for_the_inputs_are_converted(
    given: npt.DTypeLike, wanted: npt.DTypeLike
) -> None:
    feed = to_feed("f", np.array([0, 1, 1]).astype(given), spec(None, 3, dtype=wanted), 1)
    assert feed.dtype == np.dtype(wanted)
    assert feed.astype(np.float64).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("i8", "f4"), ("f4", "u1"), ("f4", "i8"), ("i1", "u1"), ("O", "f4"), ("U3", "f4")],
)
def test_dtypes_that_would_hide_a_mistake_are_refused(given: str, wanted: str) -> None:
    want = np.dtype(wanted)
    with pytest.raises(DataError) as caught:
        check_dtype("f: array 'x'", np.dtype(given), spec(None, dtype=want))
    assert str(caught.value) == (
        f"f: array 'x' is {np.dtype(given)}; input 'x' wants {want}; save the data as {want}"
    )


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (np.array([1e39]), np.float32),
        (np.array([7e4], np.float32), np.float16),
        (np.array([2**40]), np.int32),
        (np.array([300], np.uint16), np.uint8),
    ],
    ids=["float32", "float16", "int32", "uint8"],
)
def test_values_beyond_the_inputs_dtype_are_refused(
    row: npt.NDArray[Any], wanted: npt.DTypeLike
) -> None:
    with pytest.raises(DataError, match=r"f holds values beyond \w+, which input 'x' wants; resc"):
        to_feed("f", row, spec(None, 1, dtype=wanted), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
def test_values_that_are_not_finite_are_refused(bad: float, dtype: npt.DTypeLike) -> None:
    row = np.array([0.0, bad]).astype(dtype)
    with pytest.raises(DataError, match="f holds NaN or infinity; remove or repair that sample"):
        to_feed("f", row, spec(None, 2), 1)


def test_a_sample_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        to_feed("f", np.zeros((4,), np.float32), spec(None, 3), 1)
    assert str(caught.value) == (
        "f has shape [4]; input 'x' wants [?, 3]; bring the data to that shape"
    )


def test_what_makes_no_array_is_refused() -> None:
    with pytest.raises(DataError, match=r"f is no array: .*; give a numpy array"):
        as_array("f", [[1.0], [1.0, 2.0]])
