"""Finds the tables of a dense head among the outputs, and which belong to one level."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.grid import grid_of, is_level
from onnxq.tasks.layout import Field, Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnxq.tasks.layout import Seen

__all__ = ["Table", "levels"]


@dataclass(frozen=True)
class Table:
    """An output read as a table.

    Attributes:
        seen: The output.
        layout: How it is read.
        level: Height and width of its map, or its number of locations.
    """

    seen: Seen
    layout: Layout
    level: tuple[int, ...]

    @property
    def name(self) -> str:
        """The output's name."""
        return self.seen.name

    @property
    def columns(self) -> int:
        """Numbers of a row."""
        return int(self.layout.table(self.seen.arrays[0][:1]).shape[2])

    @property
    def places(self) -> int:
        """Rows of one picture."""
        return int(self.layout.table(self.seen.arrays[0][:1]).shape[1])

    def split(self, anchors: int) -> Table:
        """Returns the same with a row for each anchor of a cell."""
        return Table(self.seen, Layout(self.name, self.layout.form, anchors), self.level)

    def field(self, start: int = 0, stop: int | None = None) -> Field:
        """Returns some of its columns."""
        return Field(self.layout, start, stop)

    def rows(self) -> npt.NDArray[np.float32]:
        """Returns the rows of all probes, one after the other."""
        tables = [self.layout.table(array) for array in self.seen.arrays]
        return np.concatenate([table.reshape(-1, table.shape[2]) for table in tables])


def levels(outputs: Sequence[Seen], size: tuple[int, int] | None) -> list[list[Table]]:
    """Returns the outputs of finite numbers, two to five dimensions, as tables: one list a level.

    Outputs with the same locations belong together: they hold its boxes, its scores. Maps whose
    places are no cells of a stride are left out: a detector has none.

    Args:
        outputs: What the outputs hold.
        size: Height and width of the input, in pixels.
    """
    fitting = [one for one in outputs if 2 <= len(one.shape) <= 5 and _is_finite(one)]
    shared = Counter(side for one in fitting if len(one.shape) == 3 for side in {*one.shape[1:]})
    found: dict[tuple[int, ...], list[Table]] = {}
    for one in fitting:
        table = _table(one, shared, size)
        coarse = size is None or len(table.level) == 1 or is_level(table.level, size)
        if coarse and 0 not in one.shape:
            found.setdefault(table.level, []).append(table)
    return list(found.values())


def _is_finite(one: Seen) -> bool:
    return one.is_float and all(np.isfinite(array).all() for array in one.arrays)


def _table(one: Seen, shared: Counter[int], size: tuple[int, int] | None) -> Table:
    shape = one.shape
    if len(shape) == 4:
        last = _map_is_last(shape, size)
        level = shape[1:3] if last else shape[2:]
        return Table(one, Layout(one.name, "map-last" if last else "map"), level)
    if len(shape) == 5:
        return Table(one, Layout(one.name, "rows"), shape[2:4])
    if len(shape) == 2:
        return Table(one, Layout(one.name, "rows"), shape[:1])

    def likely(axis: int) -> tuple[bool, bool, int]:
        side = shape[axis]
        return shared[side] > 1 and side > 4, grid_of(side, size) is not None, side

    rows = likely(1) >= likely(2)
    return Table(one, Layout(one.name, "rows" if rows else "columns"), (shape[1 if rows else 2],))


def _map_is_last(shape: Sequence[int], size: tuple[int, int] | None) -> bool:
    """Whether channels come last: the other two sides have the input's proportions."""
    if size is None or 0 in (*shape, *size):
        return False

    def skew(height: int, width: int) -> float:
        return abs(math.log(height * size[1] / (width * size[0])))

    return skew(shape[1], shape[2]) < skew(shape[2], shape[3])
