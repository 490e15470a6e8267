from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxq.graph.choices import (
    Choices,
    factors_by_value,
    forget_choices,
    note_choice,
    numbered_factors,
    storable,
    told_choices,
)
from onnxq.graph.io import load, to_bytes
from tests.support import model

if TYPE_CHECKING:
    import onnx_ir as ir


def relu() -> ir.Model:
    return model("f (float[2] x) => (float[2] y) { y = Relu (x) }")


_ARRAYS = st.one_of(
    arrays(np.float32, st.integers(0, 9), elements=st.floats(width=32, allow_nan=False)),
    arrays(np.int64, st.integers(0, 9), elements=st.integers(0, 300)),
    arrays(np.int64, st.integers(0, 9), elements=st.integers(0, 2**32 - 1)),
)


@given(st.dictionaries(st.text(), _ARRAYS))
def test_a_choice_is_kept_in_the_file(chosen: dict[str, npt.NDArray[np.float32]]) -> None:
    written = relu()
    note_choice(written, "a", chosen)
    found = Choices(told_choices(load(to_bytes(written)))).take("a")
    assert found.keys() == chosen.keys()
    for name, array in chosen.items():
        np.testing.assert_array_equal(found[name], array)


def test_choices_are_taken_in_turn_and_once() -> None:
    written = relu()
    for kind, number in (("a", 1.0), ("b/c", 2.0), ("a", 3.0)):
        note_choice(written, kind, {"v": np.array([number])})
    choices = Choices(told_choices(written))
    assert choices.passes == ("a", "b")
    assert choices.take("b/c") == {}
    found = [choices.take(kind).get("v") for kind in ("a", "a", "b/c", "a", "a")]
    assert found == [[1.0], None, [2.0], [3.0], None]


def test_choices_are_forgotten() -> None:
    written = relu()
    note_choice(written, "a", {"v": np.ones(2)})
    forget_choices(written)
    assert Choices(told_choices(written)).passes == ()
    forget_choices(written)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "3",
        "[3]",
        '[["a"]]',
        '[["a", 3]]',
        '[["a", {"v": 3}]]',
        '[["a", {"v": ["float64", "AAAA"]}]]',
        '[["a", {"v": ["float32", "AAAA"]}]]',
        '[["a", {"v": ["float32", "%"]}]]',
    ],
)
def test_what_cannot_be_read_counts_as_no_choice(text: str) -> None:
    written = relu()
    written.metadata_props["onnxq.choices"] = text
    assert Choices(told_choices(written)).passes == ()


@given(arrays(np.float64, 9, elements=st.floats(1e-9, 1e9)))
def test_what_is_storable_takes_two_bytes_and_is_close(numbers: npt.NDArray[np.float64]) -> None:
    rounded = storable(numbers)
    np.testing.assert_allclose(rounded, numbers, rtol=1 / 256)
    exact, full = relu(), relu()
    note_choice(exact, "a", {"v": rounded})
    note_choice(full, "a", {"v": np.append(rounded[1:], np.float32(1.001))})
    np.testing.assert_array_equal(Choices(told_choices(exact)).take("a")["v"], rounded)
    sizes = [len(written.metadata_props["onnxq.choices"]) for written in (exact, full)]
    assert sizes[1] - sizes[0] == 24 - 1


_NUMBERS = arrays(np.int64, 4, elements=st.integers(-1, 5))


@given(st.lists(_NUMBERS, min_size=1, max_size=4), arrays(np.float64, 6, elements=st.floats(1, 3)))
def test_factors_told_by_value_are_the_same_by_number(
    numbers: list[npt.NDArray[np.int64]], factors: npt.NDArray[np.float64]
) -> None:
    values = [(f"v{place}", array) for place, array in enumerate(numbers)]
    read = np.append(np.isin(np.arange(6), np.concatenate(numbers)), True)
    factors = np.where(read, np.append(factors, 1.0), 1.0)
    chosen = factors_by_value(values, factors)
    np.testing.assert_array_equal(numbered_factors(values, chosen, 6), factors)


def test_what_is_told_already_is_not_told_again() -> None:
    values = [("a", np.array([0, 1])), ("b", np.array([1, -1])), ("c", np.array([2, -1]))]
    assert list(factors_by_value(values, np.array([2.0, 3.0, 1.0, 1.0]))) == ["a"]


def test_factors_of_another_size_are_left_out() -> None:
    values = [("a", np.array([0, 1]))]
    assert numbered_factors(values, {"a": np.full(3, 2.0)}, 2).tolist() == [1, 1, 1]
