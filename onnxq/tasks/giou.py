"""1 - GIoU of pairs of boxes and its derivative.

Generalized intersection over union (Rezatofighi et al. 2019) is GIoU = I/U - (C - U)/C, with the
area I that two boxes share, U that either covers, and C of the smallest box around both. It is 1
for equal boxes and falls to -1 for boxes far apart, so that 1 - GIoU still has a direction where
nothing overlaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["from_centre", "giou_loss", "to_corners"]

_TINY = 1e-12


def giou_loss(wanted: Array, found: Array) -> tuple[Array, Array]:
    """Returns 1 - GIoU of each pair, and its derivative by ``found``.

    Args:
        wanted: Corners (left, top, right, bottom), [n, 4], in any unit.
        found: Corners [n, 4].

    Returns:
        [n], in 0 … 2, and [n, 4]. Equal boxes, where the loss has a kink, get derivative 0.
    """
    start, end = found[:, :2], found[:, 2:]
    side = np.maximum(end - start, 0)
    area, truth = side.prod(axis=1), np.maximum(wanted[:, 2:] - wanted[:, :2], 0).prod(axis=1)
    low, high = np.maximum(start, wanted[:, :2]), np.minimum(end, wanted[:, 2:])
    shared = np.maximum(high - low, 0)
    around = np.maximum(end, wanted[:, 2:]) - np.minimum(start, wanted[:, :2])
    common, hull = shared.prod(axis=1), np.maximum(around.prod(axis=1), _TINY)
    union = np.maximum(area + truth - common, _TINY)
    loss = 2 - common / union - union / hull

    by_common = _by_side(shared, (start > wanted[:, :2]), (end < wanted[:, 2:]), shared > 0)
    by_hull = _by_side(around, (start < wanted[:, :2]), (end > wanted[:, 2:]), around > 0)
    by_area = _by_side(side, np.ones_like(start, np.bool_), np.ones_like(end, np.bool_), side > 0)
    by_union = by_area - by_common
    slope = (
        -by_common / union[:, None]
        + (common / union**2 - 1 / hull)[:, None] * by_union
        + (union / hull**2)[:, None] * by_hull
    )
    return loss, np.where((wanted == found).all(axis=1)[:, None], 0, slope)


def _by_side(
    sides: Array,
    moves_start: npt.NDArray[np.bool_],
    moves_end: npt.NDArray[np.bool_],
    open_: npt.NDArray[np.bool_],
) -> Array:
    """Returns the derivative of sides[:, 0] · sides[:, 1] by the corners that move the sides."""
    other = sides[:, ::-1] * open_
    return np.concatenate([-other * moves_start, other * moves_end], axis=1)


def to_corners(centred: Array) -> Array:
    """Returns (left, top, right, bottom) for (x, y, width, height), [n, 4]."""
    centre, half = centred[:, :2], centred[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def from_centre(slope: Array) -> Array:
    """Returns the derivative by (x, y, width, height) for that by :func:`to_corners`' result."""
    first, second = slope[:, :2], slope[:, 2:]
    return np.concatenate([first + second, (second - first) / 2], axis=1)
