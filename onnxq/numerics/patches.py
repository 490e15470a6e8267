"""What a convolution multiplies with its weight: patches of its input, one per output position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["patches"]


def patches(
    x: npt.NDArray[np.float32],
    starts: npt.NDArray[np.int64],
    offsets: Sequence[Sequence[int]],
    group: int,
    spread: Sequence[int] | None = None,
) -> npt.NDArray[np.float32]:
    """Returns the patches of ``x`` at some output positions.

    Args:
        x: float32 [N, C, spatial…].
        starts: Output positions times the stride, [n, spatial axes].
        offsets: For every spatial axis, where the taps read relative to a start. What lies beyond
            the border reads as zero.
        group: Number of channel groups.
        spread: For every spatial axis, at what distance the positions of ``x`` lie; what is between
            them reads as zero. None = 1.

    Returns:
        float32 [group, N · n, C / group · taps]; the last axis has the order of a Conv weight's
        axes behind the first.
    """
    batch, channels, sizes = x.shape[0], x.shape[1], x.shape[2:]
    flat = np.zeros((len(starts), 1), np.int64)
    inside = np.ones((len(starts), 1), np.bool_)
    for axis, size in enumerate(sizes):
        at = starts[:, axis, np.newaxis] + np.asarray(offsets[axis], np.int64)
        apart = 1 if spread is None else spread[axis]
        at, rest = np.divmod(at, apart)
        seen = (at >= 0) & (at < size) & (rest == 0)
        flat = (flat[:, :, np.newaxis] * size + np.clip(at, 0, size - 1)[:, np.newaxis]).reshape(
            len(starts), -1
        )
        inside = (inside[:, :, np.newaxis] & seen[:, np.newaxis]).reshape(len(starts), -1)
    found = x.reshape(batch, channels, -1)[:, :, flat]
    found[:, :, ~inside] = 0
    found = found.reshape(batch, group, channels // group, *flat.shape)
    return np.ascontiguousarray(found.transpose(1, 0, 3, 2, 4)).reshape(
        group, batch * len(starts), -1
    )
