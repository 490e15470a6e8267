"""Ranges per channel that leave room for what few samples do not show.

A channel's extremes in the samples are not its extremes: a detector's score for a class that no
sample holds stays small there, and a range that ends there would cut the class off for good. How
far a channel can go is therefore told by its neighbours too. With mean μ_c, standard deviation σ_c
and the seen range [a_c, b_c],

    z = quantile over channels of (b_c - μ_c) / σ_c        range_c ⊇ [μ_c - z'·σ_c, μ_c + z·σ_c]

and the same with z' for the lower end: every channel gets the room that :data:`_SHARE` of all
channels were seen to need, in units of its own spread, and never less than what it was seen to use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.numerics.moments import Moments

__all__ = ["roomy_ranges"]

_SHARE = 0.9


def roomy_ranges(channels: Moments) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns the least and the greatest real to expect of each channel, float64 [C] each.

    Args:
        channels: Range and moments of each channel, entries of shape [C].
    """
    mean, std = channels.mean, channels.std
    moving = std > 0
    if not moving.any():
        return channels.minimum, channels.maximum
    below = np.quantile((mean - channels.minimum)[moving] / std[moving], _SHARE)
    above = np.quantile((channels.maximum - mean)[moving] / std[moving], _SHARE)
    low = np.minimum(channels.minimum, mean - below * std)
    high = np.maximum(channels.maximum, mean + above * std)
    return np.asarray(low, np.float64), np.asarray(high, np.float64)
