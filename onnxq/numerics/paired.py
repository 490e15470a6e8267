"""Losses of two models on the same samples, compared in pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["surely_less"]


def surely_less(
    after: npt.NDArray[np.float64], before: npt.NDArray[np.float64], errors: float = 1.0
) -> bool:
    """Says whether losses fell, on average, by more than some standard errors of their fall.

    Where a loss was not finite before, a lesser mean is enough.

    Args:
        after: Losses on each sample, float64 [samples].
        before: The same of what they are compared with.
        errors: How many standard errors.
    """
    if not np.isfinite(before).all():
        return bool(after.mean() < before.mean())
    fall = before - after
    error = fall.std(ddof=1) / math.sqrt(fall.size) if fall.size > 1 else 0.0
    return bool(fall.mean() > errors * error)
