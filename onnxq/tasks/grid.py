"""The places of a dense detector's head: cells of the input at strides 4 … 128.

A head with one row per cell, or per cell and anchor, has Σ_s anchors · ⌈h/s⌉ · ⌈w/s⌉ rows over
consecutive strides s. Where that count is met, decoded boxes lie around their cells, so the
centres of boxes and cells correlate; offsets that still need decoding do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

__all__ = ["Grid", "grid_of", "is_level", "on_grid"]

_STRIDES = (4, 8, 16, 32, 64, 128)
_ANCHORS = (1, 2, 3, 4, 5, 6, 9)
_CORRELATED = 0.5


@dataclass(frozen=True)
class Grid:
    """The cells of a head.

    Attributes:
        size: Height and width of the input, in pixels.
        strides: Side of a cell at each level, in pixels.
        anchors: Rows per cell.
    """

    size: tuple[int, int]
    strides: tuple[int, ...]
    anchors: int

    def centres(self) -> Iterator[npt.NDArray[np.float64]]:
        """Yields the cells' centres in each order that exporters use, float64 [rows, 2] (x, y)."""
        levels = [_level(self.size, stride) for stride in self.strides]
        yield np.concatenate([np.tile(level, (self.anchors, 1)) for level in levels])
        yield np.concatenate([level.repeat(self.anchors, axis=0) for level in levels])


def grid_of(rows: int, size: tuple[int, int] | None, fewest: int = 2) -> Grid | None:
    """Returns the cells that make this number of rows; None if none do.

    Args:
        rows: Rows of the head.
        size: Height and width of the input, in pixels; None = unknown.
        fewest: Fewest levels: one meets many a number by chance, such as 300 queries.
    """
    if size is None or rows < 1:
        return None
    for length in (n for n in (3, 4, 5, 2, 1) if n >= fewest):
        for start in range(len(_STRIDES) - length + 1):
            strides = _STRIDES[start : start + length]
            cells = sum(_cells(size, stride) for stride in strides)
            if cells and rows % cells == 0 and rows // cells in _ANCHORS:
                return Grid(size, strides, rows // cells)
    return None


def is_level(level: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Says whether a map of this height and width has one place per cell of some stride."""
    return any(
        all(
            side // stride <= places <= -(-side // stride)
            for side, places in zip(size, level, strict=True)
        )
        for stride in _STRIDES
    )


def on_grid(centres: npt.NDArray[Any], grid: Grid) -> bool:
    """Says whether boxes lie around the cells that they belong to.

    Args:
        centres: Centres of the boxes of one picture, [rows, 2] (x, y) in any unit.
        grid: The cells.
    """
    return any(
        all(_correlation(centres[:, axis], cells[:, axis]) > _CORRELATED for axis in (0, 1))
        for cells in grid.centres()
    )


def _cells(size: tuple[int, int], stride: int) -> int:
    return -(-size[0] // stride) * -(-size[1] // stride)


def _level(size: tuple[int, int], stride: int) -> npt.NDArray[np.float64]:
    height, width = (-(-side // stride) for side in size)
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return np.asarray((np.stack((x, y), axis=-1).reshape(-1, 2) + 0.5) * stride, np.float64)


def _correlation(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Pearson's r; 0 where one side does not vary."""
    one, other = (side.astype(np.float64) - side.mean(dtype=np.float64) for side in (first, second))
    scale = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float((one * other).sum()) / scale if scale > 0 and np.isfinite(scale) else 0.0
