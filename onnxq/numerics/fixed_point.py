"""Rescaling of integers by integers: what stands for a float scale where there is no float.

A sum of terms x_i with real factors f_i becomes the code

    y = clip(round(Σ x_i · f_i + offset) + zero_point, least, greatest)

of which dyadic numbers (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", section 2.2; Yao et al. 2021, "HAWQ-V3: Dyadic Neural
Network Quantization", section 3.2) leave integers alone, with one shift for all channels:

    y = clip(Σ x_i · multiplier_i + addend, least · 2^shift, (greatest + 1) · 2^shift - 1) >> shift
    multiplier_i = round(f_i · 2^shift)
    addend = round((offset + zero_point + 1/2) · 2^shift)

The half makes the shift, which rounds down, round half up. Where x_i are bounded, so is every
intermediate number, and the greatest shift is taken that lets none leave its type. Multipliers of
31 bits, with products in int64, are as exact as float scales. int32 is enough where the
multipliers' own rounding moves the farthest codes of a channel, in the mean over channels, by
``_NONE`` at most, or by ``_LITTLE`` where narrow numbers are asked for. There are two such forms,
the second for a single term whose multiplier it lets be greater; the first is faster, and taken
where it is good enough by far (``_LESS``):

    clip behind:  as above
    clip before:  y = (clip(x, low, high) · multiplier + addend) >> shift

with ``low`` the least x whose code is ``least`` or more and ``high`` the greatest whose code is
``greatest`` or less. Both are equal where a step of x moves the code by one at most, which the
second form asks for. Otherwise numbers are int64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Rescaling", "Term", "rescaling"]

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

_NONE, _LESS, _LITTLE, _WORST = 2.0**-14, 1 / 256, 1 / 128, 1 / 4
_BITS = {False: 31, True: 63}
# A multiplier of 31 bits is as exact as the float32 scale that it stands for.
_LARGEST_MULTIPLIER = 31


class Term(NamedTuple):
    """One integer operand.

    Attributes:
        factor: float64, [] or one per channel: output codes per unit.
        low: int64, broadcasts with ``factor``: its least value.
        high: The same: its greatest value.
    """

    factor: Reals
    low: Integers
    high: Integers

    @property
    def reach(self) -> Integers:
        """The greatest magnitude."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


@dataclass(frozen=True, eq=False)
class Rescaling:
    """The integers of a rescaling; see the module.

    Attributes:
        multipliers: One array per term, int64, [] or one per channel.
        addend: int64, [] or one per channel.
        shift: Bits to drop.
        limits: Least and greatest code.
        wide: Whether numbers are int64; else int32.
        before: (low, high), int64, that the only term is clipped to; None = clipped behind.
        needs_clip: Whether any value of the terms gives a code beyond the limits.
    """

    multipliers: tuple[Integers, ...]
    addend: Integers
    shift: int
    limits: tuple[int, int]
    wide: bool
    before: tuple[Integers, Integers] | None
    needs_clip: bool

    @property
    def behind(self) -> tuple[int, int]:
        """The bounds of the sum in front of the shift."""
        least, greatest = self.limits
        return least << self.shift, ((greatest + 1) << self.shift) - 1

    def apply(self, *terms: Integers) -> Integers:
        """Returns the codes, int64; terms broadcast with their multipliers."""
        if self.before is not None:
            terms = (np.clip(terms[0], *self.before),)
        products = (t * m for t, m in zip(terms, self.multipliers, strict=True))
        total = sum(products, start=self.addend)
        return np.asarray(np.clip(total, *self.behind) >> self.shift, np.int64)


def rescaling(
    terms: Sequence[Term],
    zero_point: npt.ArrayLike,
    limits: tuple[int, int],
    offset: npt.ArrayLike = 0.0,
    *,
    narrow: bool = False,
) -> Rescaling:
    """Returns the integers that rescale ``terms``, none of which can leave its type.

    Args:
        terms: What is added up, with its bounds.
        zero_point: Of the codes, [] or one per channel.
        limits: Least (0 or more, so that the shift sees no negative number) and greatest code.
        offset: Added to the sum, in codes, [] or one per channel.
        narrow: Whether int32 is preferred to multipliers of 31 bits.

    Raises:
        ValueError: A factor or the offset is too large for int64.
    """
    shifted = np.asarray(offset, np.float64) + np.asarray(zero_point, np.float64) + 0.5
    behind = _greatest_shift(terms, shifted, limits, wide=False)
    before = _before(terms, shifted, limits)
    less, little = (_LESS, _LITTLE) if narrow else (_NONE, _NONE)
    for found, tolerance in ((behind, less), (before, little), (behind, little)):
        if found is not None and _is_exact(terms, found, limits, tolerance):
            return found
    wide = _greatest_shift(terms, shifted, limits, wide=True)
    if wide is not None:
        return wide
    largest = max(float(np.abs(term.factor * term.reach).max()) for term in terms)
    raise ValueError(f"a sum that reaches {largest:.3g} codes is too large for 64 bits")


def _greatest_shift(
    terms: Sequence[Term], shifted: Reals, limits: tuple[int, int], *, wide: bool
) -> Rescaling | None:
    """Returns the most exact integers whose sums and bounds fit the type."""
    room = 1 << _BITS[wide]
    largest = max(float(np.abs(term.factor).max()) for term in terms)
    start = _LARGEST_MULTIPLIER - int(np.ceil(np.log2(max(largest, 2.0**-32))))
    for shift in range(min(start, _BITS[wide] - 1), 0, -1):
        if (limits[1] + 1) << shift > room:
            continue
        reach = sum(np.abs(t.factor) * t.reach for t in terms) + np.abs(shifted)
        # one more unit of each for the rounding of the numbers themselves, and some for this sum's
        slack = sum(t.reach for t in terms) + 1.0
        if float(np.max(reach * 2.0**shift + slack)) >= room * (1 - 2.0**-40):
            continue
        return _made(terms, shifted, shift, limits, wide=wide)
    return None


def _made(
    terms: Sequence[Term], shifted: Reals, shift: int, limits: tuple[int, int], *, wide: bool
) -> Rescaling:
    multipliers = tuple(_rounded(term.factor, shift) for term in terms)
    addend = _rounded(shifted, shift)
    least = sum(
        (np.minimum(t.low * m, t.high * m) for t, m in zip(terms, multipliers, strict=True))
    )
    most = sum((np.maximum(t.low * m, t.high * m) for t, m in zip(terms, multipliers, strict=True)))
    found = Rescaling(multipliers, addend, shift, limits, wide, None, needs_clip=True)
    low, high = found.behind
    clips = bool((least + addend < low).any() or (most + addend > high).any())
    return Rescaling(multipliers, addend, shift, limits, wide, None, clips)


def _rounded(real: Reals, shift: int) -> Integers:
    return np.asarray(np.rint(np.asarray(real, np.float64) * 2.0**shift), np.int64)


def _is_exact(
    terms: Sequence[Term], found: Rescaling, limits: tuple[int, int], tolerance: float
) -> bool:
    """Whether the rounding of multipliers moves the farthest codes by ``tolerance`` in the mean."""
    span = float(limits[1] - limits[0] + 1)
    worst: Reals = np.zeros(())
    for term, multiplier in zip(terms, found.multipliers, strict=True):
        error = np.abs(term.factor - multiplier * 2.0**-found.shift)
        reach = term.reach.astype(np.float64)
        if len(terms) == 1:
            # further out the code is clipped
            width = span + np.abs(found.addend * 2.0**-found.shift)
            reach = np.minimum(reach, width / np.maximum(np.abs(term.factor), 2.0**-60))
        worst = worst + error * reach
    return bool(worst.mean() <= tolerance and worst.max() <= _WORST)


def _before(terms: Sequence[Term], shifted: Reals, limits: tuple[int, int]) -> Rescaling | None:
    """Returns the most exact integers of the form that clips before."""
    factor = terms[0].factor
    if len(terms) > 1 or (factor <= 0).any() or (factor > 1).any():
        return None
    room = 1 << _BITS[False]
    for shift in range(_BITS[False] - 1, 0, -1):
        least, most = limits[0] << shift, ((limits[1] + 1) << shift) - 1
        multiplier, addend = _rounded(factor, shift), _rounded(shifted, shift)
        if most >= room or (np.abs(addend) >= room).any():
            continue
        if (multiplier < 1).any():
            return None
        low, high = -((addend - least) // multiplier), (most - addend) // multiplier
        ends = np.stack(np.broadcast_arrays(low * multiplier, high * multiplier))
        if (
            (np.abs(ends) >= room).any()
            or (ends + addend < least).any()
            or (ends + addend > most).any()
        ):
            continue
        return Rescaling((multiplier,), addend, shift, limits, False, (low, high), False)
    return None
