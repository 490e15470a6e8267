"""Signal to noise against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.numerics.sqnr import SqnrSum

ARRAYS = st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=4).map(
    lambda numbers: np.array(numbers, np.float32)
)


def total(*pairs: tuple[object, object]) -> SqnrSum:
    found = SqnrSum()
    for wanted, got in pairs:
        found.add(np.asarray(wanted, np.float32), np.asarray(got, np.float32))
    return found


def test_ten_percent_off_is_twenty_decibels() -> None:
    assert total(([1, 2], [1.1, 2.2])).decibels == pytest.approx(20, abs=1e-4)


def test_no_noise_is_infinite_and_noise_alone_its_negative() -> None:
    assert total(([1, 2], [1, 2])).decibels == math.inf
    assert total(([0, 0], [0, 0])).decibels == math.inf
    assert total(([0, 0], [1, 0])).decibels == -math.inf
    assert SqnrSum().decibels == math.inf


@given(st.lists(st.tuples(ARRAYS, ARRAYS), min_size=1, max_size=4))
def test_samples_add_up_as_one_array_would(pairs: list[tuple[object, object]]) -> None:
    parts = total(*pairs)
    whole = total(tuple(np.concatenate(side) for side in zip(*pairs, strict=True)))  # type: ignore[arg-type]
    assert parts.signal == pytest.approx(whole.signal, rel=1e-12)
    assert parts.noise == pytest.approx(whole.noise, rel=1e-12)


def test_arrays_of_any_size_and_layout_are_added_up_whole() -> None:
    wanted = np.random.default_rng(0).standard_normal((3, 70, 101)).astype(np.float32)
    got = wanted.transpose(0, 2, 1)[:, ::-1].transpose(0, 2, 1) * np.float32(0.5)
    found = SqnrSum()

    found.add(wanted, got)

    assert found.signal == pytest.approx(float(np.square(wanted, dtype=np.float64).sum()), rel=1e-9)
    noise = np.square(wanted.astype(np.float64) - got).sum()
    assert found.noise == pytest.approx(float(noise), rel=1e-9)


def test_single_numbers_and_empty_arrays_are_samples_too() -> None:
    found = total((2.0, 1.0), ([], []))

    assert (found.signal, found.noise) == (4, 1)


def test_sums_do_not_overflow_half_precision() -> None:
    found = SqnrSum()
    found.add(np.full(4, 60000, np.float16), np.full(4, 6000, np.float16))
    assert found.signal == 4 * 60000.0**2


def test_infinite_noise_is_the_worst_ratio_there_is() -> None:
    assert total(([1, 2], [np.inf, 2])).decibels == -math.inf


def test_infinities_on_both_sides_have_no_ratio() -> None:
    assert math.isnan(total(([np.inf, 2], [np.inf, 2])).decibels)
