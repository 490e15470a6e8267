"""Scales per channel of an activation, balanced against the weights that must take them over.

With scales s_i = S^(1 - α) · q_i^α between one scale S for all channels (α = 0) and each channel's
own q_i (α = 1), the noise at the outputs of the consuming layers is, in expectation,

    activation:  Σ_i  s_i² / 12 · Σ_o W_oi²
    weight:      Σ_o  Δ_o² / 12 · Σ_i E[x_i²] · taps / r_i²,     Δ_o = max_i |W_oi| · r_i / qmax

with r_i = s_i / S the factor that weight column i is multiplied by. α is chosen where the sum is
least, as SmoothQuant's migration strength is (Xiao et al. 2023, "SmoothQuant", section 4), but per
site and from the noise itself. Depthwise weights have a scale per channel and lose nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["Reader", "channel_scales"]

_ALPHAS = np.linspace(0.0, 1.0, 11)
_LEAST_RATIO = 1 / 64


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads the activation.

    Attributes:
        weight: float32 [O, I, taps] for dense, [C, 1, taps] for depthwise layers.
        depthwise: Whether output channel c reads channel c alone.
        qmax: Greatest weight code.
    """

    weight: npt.NDArray[np.float32]
    depthwise: bool
    qmax: int

    def energy(self) -> npt.NDArray[np.float64]:
        """Returns Σ W² over all that reads each input channel, float64 [I]."""
        square = np.square(self.weight, dtype=np.float64)
        return np.asarray(square.sum(axis=(1, 2) if self.depthwise else (0, 2)), np.float64)

    def weight_noise(self, ratio: npt.NDArray[np.float64], power: npt.NDArray[np.float64]) -> float:
        """Returns the weight's share of the noise for column factors ``ratio``, float64 [I]."""
        if self.depthwise:
            return 0.0
        largest = np.abs(self.weight).max(axis=2) * ratio
        steps = largest.max(axis=1) / self.qmax
        signal = (power / ratio**2).sum() * self.weight.shape[2]
        return float(np.square(steps).sum() / 12 * signal)


def channel_scales(
    common: float,
    own: npt.NDArray[np.float64],
    power: npt.NDArray[np.float64],
    readers: Sequence[Reader],
) -> npt.NDArray[np.float32]:
    """Returns the scales with the least expected noise behind ``readers``.

    Args:
        common: S, the best single scale.
        own: float64 [C], q: the least scale that covers each channel; below S/64 counts as S/64.
        power: float64 [C], mean square of each channel.
        readers: The layers that read the activation.

    Returns:
        float32 [C].
    """
    wanted = np.maximum(own, common * _LEAST_RATIO)
    energy = np.sum([reader.energy() for reader in readers], axis=0)
    best, least = np.full(own.shape, common), np.inf
    for alpha in _ALPHAS:
        scales = common ** (1 - alpha) * wanted**alpha
        noise = float((np.square(scales) / 12 * energy).sum())
        noise += sum(reader.weight_noise(scales / common, power) for reader in readers)
        if noise < least:
            best, least = scales, noise
    return np.asarray(best, np.float32)
