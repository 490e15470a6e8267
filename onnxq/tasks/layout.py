"""How an output of any rank reads as a table: one row a location, one column a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.tasks.base import Outputs

__all__ = ["Field", "Layout", "Seen"]


@dataclass(frozen=True)
class Seen:
    """One output as the probe runs of the float model show it.

    Attributes:
        name: Its name.
        arrays: What each run gave; at least one.
    """

    name: str
    arrays: tuple[npt.NDArray[Any], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first run."""
        return tuple(self.arrays[0].shape)

    @property
    def is_float(self) -> bool:
        """Whether it holds floating point numbers."""
        return self.arrays[0].dtype.kind == "f"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where locations and numbers stand in an output.

    Attributes:
        name: The output's name.
        form: "rows" [batch, …, numbers] (or [locations, numbers]), "columns" [batch, numbers,
            locations], "map" [batch, anchors · numbers, h, w], "map-last" [batch, h, w, anchors ·
            numbers].
        anchors: Anchors that share a place of a map.
    """

    name: str
    form: Literal["rows", "columns", "map", "map-last"]
    anchors: int = 1

    def table(self, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Returns the output's numbers as float32 [batch, locations, numbers]."""
        values = array.astype(np.float32, copy=False)
        if self.form == "columns":
            return values.transpose(0, 2, 1)
        if values.ndim == 2:
            return values[None]
        batch, numbers = values.shape[0], values.shape[-1]
        if self.form == "map":
            numbers = values.shape[1] // self.anchors
            split = values.reshape(batch, self.anchors, numbers, -1)
            return split.transpose(0, 1, 3, 2).reshape(batch, -1, numbers)
        return values.reshape(batch, -1, numbers // self.anchors)

    def untable(
        self, table: npt.NDArray[np.float32], shape: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        """Undoes :meth:`table`.

        Args:
            table: float32 [batch, locations, numbers].
            shape: Of the output.
        """
        if self.form == "columns":
            return table.transpose(0, 2, 1)
        if self.form == "map" and len(shape) > 2:
            numbers = shape[1] // self.anchors
            split = table.reshape(shape[0], self.anchors, -1, numbers)
            return split.transpose(0, 1, 3, 2).reshape(shape)
        return table.reshape(shape)


@dataclass(frozen=True, slots=True)
class Field:
    """Some columns of an output's table.

    Attributes:
        layout: How the output becomes a table.
        start: First column.
        stop: Column behind the last; None = to the end.
    """

    layout: Layout
    start: int = 0
    stop: int | None = None

    def take(self, outputs: Outputs) -> npt.NDArray[np.float32]:
        """Returns the columns as float32 [batch, locations, columns]."""
        return self.layout.table(outputs[self.layout.name])[:, :, self.start : self.stop]

    def add(self, columns: npt.NDArray[np.float32], to: dict[str, npt.NDArray[np.float32]]) -> None:
        """Adds columns, as :meth:`take` returns them, to where they are taken from.

        Args:
            columns: float32 [batch, locations, columns].
            to: Arrays in the outputs' shapes, by name; the layout's is replaced.
        """
        array = to[self.layout.name]
        table = np.zeros(self.layout.table(array).shape, np.float32)
        table[:, :, self.start : self.stop] = columns
        to[self.layout.name] = array + self.layout.untable(table, array.shape)
