"""Codes that gradient descent may move to their neighbours, as AdaRound moves them up or down.

    codes = q + d · h,   h in [0, 1]          (:mod:`onnxq.numerics.rectified_sigmoid`)

q are codes that are good already, d is ±1, towards the weight that they stand for. In the end h
counts as 1 from 0.5 on. Nagel et al. 2020, "Up or Down?", round the weight itself, so q is its
floor and d is 1; Li et al. 2021, "BRECQ", do so for the output of a block. Here λ is in units of
the gradient: the root of its mean square over the layer's weights, in the first step. And in the
second half of the steps the most decided weights are rounded for good, more and more of them, so
that the others make up for it (after Zhou et al. 2017, "Incremental Network Quantization").
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.adam import Adam
from onnxq.numerics.rectified_sigmoid import (
    falling_power,
    logit,
    regularizer_slope,
    share_and_slope,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Single = npt.NDArray[np.float32]

__all__ = ["SoftCodes"]

_RATE = 2e-2
# From when on, and until when, shares are rounded for good; parts of all steps.
_FREEZING, _FROZEN = 0.4, 0.9
# Where h starts at most: nearer to the weight than q is, but not so far that q is forgotten.
_FARTHEST = 0.1


class SoftCodes:
    """See the module.

    Args:
        codes: q, int32, the weight's shape.
        step: What a code stands for, broadcasts to it.
        wanted: The weight in units of a code, float32.
        limits: Least and greatest code.
        regularization: λ.
    """

    def __init__(
        self,
        codes: npt.NDArray[np.int32],
        step: Single,
        wanted: Single,
        limits: tuple[int, int],
        regularization: float = 0.1,
    ) -> None:
        rest = wanted - codes
        toward = np.where(rest < 0, -1, 1)
        self._free = (codes + toward >= limits[0]) & (codes + toward <= limits[1])
        self._start, self._toward = codes, toward.astype(np.float32)
        self._step, self._regularization = step, np.float32(regularization)
        self._v = logit(np.clip(np.abs(rest), 0, _FARTHEST).astype(np.float32))
        self._adam = Adam(self._v, _RATE)
        self._settled = True
        self._norm: np.float32 | None = None

    def value(self) -> Single:
        """Returns the weight, float32; h need not be 0 or 1 before the codes are settled."""
        share = self.codes() - self._start if self._settled else self._toward * self._share()
        return np.asarray((self._start + share) * self._step, np.float32)

    def codes(self) -> npt.NDArray[np.int32]:
        """Returns the codes nearest to the present ones, int32."""
        return np.asarray(self._start + self._toward * (self._share() >= 0.5), np.int32)

    def scale_factor(self) -> Single:
        """Returns 1: scales stay."""
        return np.ones(1, np.float32)

    def descend(self, slope: Single, part: float) -> None:
        """See :class:`onnxq.numerics.learned.Learned`."""
        self._settled = False
        slope = slope * (self._step * self._toward)
        if self._norm is None:
            self._norm = np.float32(np.sqrt(np.mean(slope * slope)) + 1e-30)
        slope /= self._norm
        share, softness = share_and_slope(self._v)
        beta = falling_power(part)
        if beta is not None:
            slope += self._regularization * regularizer_slope(share, beta)
        self._v -= self._adam.step(np.where(self._free, slope * softness, 0))
        if part > _FREEZING:
            self._freeze((part - _FREEZING) / (_FROZEN - _FREEZING))

    def settle(self) -> None:
        """Rounds h."""
        self._settled = True

    def _freeze(self, part: float) -> None:
        """Rounds the most decided shares for good; what is left makes up for that."""
        decided = np.abs(share_and_slope(self._v)[0] - np.float32(0.5))
        decided = np.where(self._free, decided, np.inf)
        count = min(math.ceil(part * decided.size), decided.size)
        least = np.partition(decided, decided.size - count, axis=None)[decided.size - count]
        whole = self._free & (decided >= least)
        self._start = np.where(whole, self.codes(), self._start)
        self._free &= ~whole

    def _share(self) -> Single:
        return np.where(self._free, share_and_slope(self._v)[0], 0)
