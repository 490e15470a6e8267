"""Rescaling by integers equals exact rational arithmetic, within the types that it claims."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxq.numerics.fixed_point import Rescaling, Term, rescaling

if TYPE_CHECKING:
    from collections.abc import Sequence

BYTE = (0, 255)
INT32, INT64 = 2**31, 2**63


def term(factor: object, low: object, high: object) -> Term:
    return Term(
        np.asarray(factor, np.float64), np.asarray(low, np.int64), np.asarray(high, np.int64)
    )


def exact(
    found: Rescaling, terms: Sequence[int], channel: tuple[int, ...] = ()
) -> tuple[int, list[int]]:
    """Returns the code by rational rounding half up, and every intermediate number."""
    multipliers = [int(m[channel] if m.ndim else m) for m in found.multipliers]
    addend = int(found.addend[channel] if found.addend.ndim else found.addend)
    values = list(terms)
    if found.before is not None:
        low, high = (int(b[channel] if b.ndim else b) for b in found.before)
        values = [min(max(values[0], low), high)]
    products = [v * m for v, m in zip(values, multipliers, strict=True)]
    sums = [sum(products[: i + 1]) for i in range(len(products))]
    unclipped = [v * m for v, m in zip(terms, multipliers, strict=True)]
    real = Fraction(sum(unclipped) + addend, 2**found.shift)
    code = real.numerator // real.denominator
    return min(max(code, found.limits[0]), found.limits[1]), [*products, *sums, sums[-1] + addend]


FACTORS = st.floats(2.0**-14, 4.0)
REACHES = st.integers(0, 2**30)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(FACTORS, REACHES), min_size=1, max_size=3), st.integers(0, 255), st.data()
)
def test_equals_rational_rounding_and_leaves_no_type(
    drawn: list[tuple[float, int]], zero: int, data: st.DataObject
) -> None:
    terms = [term(f, -reach, reach) for f, reach in drawn]
    offset = data.draw(st.floats(-1000, 1000))
    found = rescaling(terms, zero, BYTE, offset, narrow=data.draw(st.booleans()))
    ends = [data.draw(st.sampled_from((-reach, 0, reach))) for _, reach in drawn]
    inner = [data.draw(st.integers(-reach, reach)) for _, reach in drawn]
    for values in (ends, inner):
        code, numbers = exact(found, values)
        assert found.apply(*(np.asarray(v) for v in values)) == code
        room = INT64 if found.wide else INT32
        assert all(-room <= number < room for number in numbers)
        assert found.behind[1] < room


@settings(max_examples=150, deadline=None)
@given(FACTORS, REACHES, st.integers(0, 255), st.floats(-300, 300), st.data())
def test_is_within_a_code_of_the_real_factor(
    factor: float, reach: int, zero: int, offset: float, data: st.DataObject
) -> None:
    narrow = data.draw(st.booleans())
    found = rescaling([term(factor, -reach, reach)], zero, BYTE, offset, narrow=narrow)
    x = data.draw(st.integers(-reach, reach))
    real = Fraction(x) * Fraction(factor) + Fraction(offset) + zero
    nearest = min(max(real, Fraction(0)), Fraction(255))
    assert abs(int(found.apply(np.asarray(x))) - nearest) <= Fraction(1, 2) + Fraction(1, 25)


def test_a_small_accumulator_is_clipped_behind() -> None:
    found = rescaling([term([1 / 256, 1 / 180], -10_000, 10_000)], 3, BYTE, narrow=True)
    assert (found.wide, found.before) == (False, None)
    assert found.needs_clip


def test_a_large_one_is_clipped_before_and_stays_in_32_bits() -> None:
    found = rescaling([term([1 / 400, 1 / 300], -(2**28), 2**28)], 3, BYTE, narrow=True)
    assert not found.wide
    assert found.before is not None
    x = np.arange(-300_000, 300_000, 97)[:, None]
    wanted = np.clip(((x * found.multipliers[0] + found.addend) >> found.shift), 0, 255)
    np.testing.assert_array_equal(found.apply(x), wanted)


def test_multipliers_of_31_bits_unless_narrow_ones_are_asked_for() -> None:
    found = rescaling([term([1 / 400, 1 / 300], -(2**20), 2**20)], 3, BYTE)
    assert found.wide
    assert found.multipliers[0].max() >= 2**30


def test_small_factors_take_64_bits() -> None:
    found = rescaling([term(1.3 * 2.0**-20, -(2**30), 2**30)], 0, BYTE)
    assert found.wide
    assert found.multipliers[0] >= 2**30


def test_no_clip_where_no_value_reaches_a_limit() -> None:
    found = rescaling([term(0.5, 0, 255)], 0, BYTE)
    assert not found.needs_clip


def test_half_rounds_up() -> None:
    found = rescaling([term(0.5, -255, 255)], 100, BYTE)
    codes = found.apply(np.array([-3, -1, 1, 3]))
    np.testing.assert_array_equal(codes, [99, 100, 101, 102])


def test_narrow_codes_are_clipped_to_their_own_limits() -> None:
    found = rescaling([term(1.0, -255, 255)], 8, (0, 15))
    np.testing.assert_array_equal(found.apply(np.array([-99, 0, 99])), [0, 8, 15])


def test_negative_factors() -> None:
    found = rescaling([term(1.0, 0, 255), term(-1.0, 0, 255)], 128, BYTE)
    assert found.apply(np.asarray(10), np.asarray(20)) == 118


def test_too_large_a_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="too large for 64 bits"):
        rescaling([term(2.0**40, -(2**30), 2**30)], 0, BYTE)


@settings(deadline=None)
@given(st.floats(2.0**-10, 1.0), st.integers(1, 2**20))
def test_both_narrow_forms_agree(factor: float, reach: int) -> None:
    """The form that clips before equals the one that clips behind, computed in wide integers."""
    found = rescaling([term(factor, -reach * 2**10, reach * 2**10)], 7, BYTE, narrow=True)
    assume(found.before is not None)
    edges = np.concatenate([b + np.arange(-2, 3) for b in found.before or ()])
    wanted = np.clip((edges * found.multipliers[0] + found.addend) >> found.shift, 0, 255)
    np.testing.assert_array_equal(found.apply(edges), wanted)
