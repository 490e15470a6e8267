"""How far sums of products of bounded integers reach."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["product_bounds"]


def product_bounds(
    rows: npt.NDArray[np.integer], low: int, high: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the least and the greatest Σ_k x_k · w_k of every row, int64 [O], for x in a range.

    Both are taken by some x, and no partial sum of any order lies beyond them where 0 is in the
    range.

    Args:
        rows: Weights, integers [O, K].
        low: Least x.
        high: Greatest x.
    """
    wide = rows.astype(np.int64)
    positive, negative = np.maximum(wide, 0).sum(axis=1), np.minimum(wide, 0).sum(axis=1)
    return positive * low + negative * high, positive * high + negative * low
