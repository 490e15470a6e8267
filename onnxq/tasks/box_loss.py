"""How far box numbers are apart, in whatever form a head gives them.

1. Corners, or centre and size: 1 - GIoU.
2. Raw, four numbers: their L1 distance, over half of what the numbers of ``wanted`` are large
   together, or over 1 where that is less.
3. Raw, 4·m numbers with m from :data:`_FEWEST_BINS` to :data:`_MOST_BINS`: four distributions over
   m bins, of which each side's mean is taken, in bins; then as 2.
4. Any other count of raw numbers: as 2, of their means times four.

Of four distances of a box's sides from a place, half the sum is the mean side of the box, so that 2
is what 1 - GIoU is for small shifts, whatever the distances are measured in. Other raw numbers are
logits mostly, whose boxes change by as much as they do where they are small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.divergence import softmax
from onnxq.tasks.giou import from_centre, giou_loss, to_corners
from onnxq.tasks.loss import signs

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.tasks.head import BoxForm

    Array = npt.NDArray[np.float64]

__all__ = ["box_loss", "box_spread"]

_SIDES = 4
_FEWEST_BINS, _MOST_BINS = 5, 33
_LEAST_SIDE = 1e-6
_LEAST_RAW_SIDE = 1.0


def box_loss(wanted: Array, found: Array, form: BoxForm) -> tuple[Array, Array]:
    """Returns the distance of each pair of rows, and its derivative by ``found``.

    Args:
        wanted: Box numbers [n, k].
        found: Box numbers [n, k].
        form: What they are.

    Returns:
        [n] and [n, k].
    """
    if form == "corners":
        return giou_loss(wanted, found)
    if form == "centre":
        loss, slope = giou_loss(to_corners(wanted), to_corners(found))
        return loss, from_centre(slope)
    real, other = _distances(wanted), _distances(found)
    scale = _scale(real)
    loss = (np.abs(other - real) * scale).sum(axis=1)
    return loss, _pulled(found, np.sign(other - real) * scale)


def box_spread(wanted: Array, form: BoxForm, rng: np.random.Generator) -> Array:
    """Returns random d [n, k] with E[d dᵀ] the curvature of ½·|Δ|² of each row.

    Δ are the shifts of the corners in units of the box's own sides, or of raw numbers over what
    :func:`box_loss` takes for such a side.

    Args:
        wanted: Box numbers [n, k].
        form: What they are.
        rng: Draws.
    """
    if form == "raw":
        real = _distances(wanted)
        share = np.sqrt(_share(real))
        return _pulled(wanted, signs(real.shape, rng) * _scale(real) / share)
    corners = wanted if form == "corners" else to_corners(wanted)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], _LEAST_SIDE)
    drawn = signs(corners.shape, rng) / np.tile(sides, 2)
    return drawn if form == "corners" else from_centre(drawn)


def _bins(numbers: int) -> int | None:
    """Rule 3: the number of bins, None where there are no distributions."""
    bins, rest = divmod(numbers, _SIDES)
    return bins if not rest and _FEWEST_BINS <= bins <= _MOST_BINS else None


def _distances(rows: Array) -> Array:
    bins = _bins(rows.shape[1])
    if bins is None:
        return rows
    return np.asarray(softmax(rows.reshape(-1, _SIDES, bins)) @ np.arange(bins))


def _share(rows: Array) -> float:
    """Returns how many sides of a box each number stands for."""
    return _SIDES / max(int(rows.shape[1]), 1)


def _scale(rows: Array) -> Array:
    """Rules 2 and 4: what one of the numbers counts, over the mean side of the box; [n, 1]."""
    share = _share(rows)
    side = np.abs(rows).sum(axis=1, keepdims=True) * share / 2
    return np.asarray(share / np.maximum(side, _LEAST_RAW_SIDE))


def _pulled(rows: Array, slope: Array) -> Array:
    """Returns the derivative by the box numbers for that by the distances."""
    bins = _bins(rows.shape[1])
    if bins is None:
        return slope
    shares, at = softmax(rows.reshape(-1, _SIDES, bins)), np.arange(bins)
    mean = (shares @ at)[..., None]
    return np.asarray((shares * (at - mean) * slope[..., None]).reshape(rows.shape))
