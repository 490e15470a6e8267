"""FlexRound: codes that gradient descent moves by dividing the weight, element by element.

Lee et al. 2023, "FlexRound: Learnable Rounding based on Element-wise Division for Post-Training
Quantization", equation 2, with all factors as exponentials:

    w' = s1 · clip(round(w / (s1 · S2 · s3)))     s1 = s · exp(a),  S2 = exp(B),  s3 = exp(c)

a and c are numbers of an output (a is one number where the weight has one scale), B is of the
weight's shape. Rounding is taken for the identity (straight-through): with u = w / (s1 · S2 · s3)
and i = 1 where round(u) is no limit exceeded,

    dw'/da = w' - s1 · u · i,      dw'/dB = dw'/dc = -s1 · u · i

A large weight moves farther than a small one, which is the method's idea. In place of w stands what
is next to it and rounds to the codes that the descent starts from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.adam import Adam
from onnxq.numerics.learned import falling_rate

if TYPE_CHECKING:
    import numpy.typing as npt

    Single = npt.NDArray[np.float32]

__all__ = ["FlexCodes"]

_RATE, _RATE_OF_SCALES = 1e-3, 3e-4
# Next to a code: just so near that the code is what is nearest.
_NEAR = 0.49


class FlexCodes:
    """See the module.

    Args:
        codes: To start from, int32, the weight's shape.
        step: s, what a code stands for, broadcasts to it.
        wanted: The weight in units of s, float32.
        limits: Least and greatest code.
        least: Least s1 / s, of the shape of the scales, broadcasts to the weight.
    """

    def __init__(
        self,
        codes: npt.NDArray[np.int32],
        step: Single,
        wanted: Single,
        limits: tuple[int, int],
        least: Single,
    ) -> None:
        self._base = np.clip(wanted, codes - _NEAR, codes + _NEAR).astype(np.float32)
        self._step, self._limits = step, limits
        self._least = np.log(np.maximum(least, 1e-30)).astype(np.float32)
        self._a, self._c = np.zeros_like(self._least), np.zeros_like(self._least)
        self._b = np.zeros(codes.shape, np.float32)
        self._adams = [Adam(self._a, _RATE_OF_SCALES), Adam(self._b, _RATE), Adam(self._c, _RATE)]

    def value(self) -> Single:
        """Returns the weight, float32: codes times scales."""
        return np.asarray(self.codes() * (self._step * np.exp(self._a)), np.float32)

    def codes(self) -> npt.NDArray[np.int32]:
        """Returns the codes, int32."""
        return np.clip(np.rint(self._exact()), *self._limits).astype(np.int32)

    def scale_factor(self) -> Single:
        """Returns s1 / s."""
        return np.exp(self._a)

    def descend(self, slope: Single, part: float) -> None:
        """See :class:`onnxq.numerics.learned.Learned`."""
        exact, codes = self._exact(), self.codes()
        inside = np.where(np.clip(np.rint(exact), *self._limits) == np.rint(exact), exact, 0)
        slope = slope * (self._step * np.exp(self._a))
        by_a, by_b, by_c = (adam.step for adam in self._adams)
        share = falling_rate(part)
        by_scale = self._summed(slope * (codes - inside))
        self._a = np.maximum(self._a - by_a(by_scale, share), self._least)
        fall = -slope * inside
        self._c = self._c - by_c(self._summed(fall), share)
        self._b -= by_b(fall, share)

    def settle(self) -> None:
        """See :class:`onnxq.numerics.learned.Learned`; codes are whole already."""

    def _exact(self) -> Single:
        return np.asarray(self._base * np.exp(-(self._a + self._b + self._c)), np.float32)

    def _summed(self, slope: Single) -> Single:
        """Sums over what shares a scale."""
        over = tuple(i for i, size in enumerate(self._a.shape) if size == 1)
        return np.asarray(slope.sum(axis=over, keepdims=True), np.float32)
