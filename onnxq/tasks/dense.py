"""Recognizes dense heads: every place of the picture has its boxes and scores.

Two kinds: boxes and scores in one table (:mod:`onnxq.tasks.columns`), or in outputs of their own
(:mod:`onnxq.tasks.roles`); either once or once a level. What is recognized must also find little:
scores that are high at many places are something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.columns import Hints, columns_of
from onnxq.tasks.evidence import bounded, box_form, score_form, sparse
from onnxq.tasks.grid import grid_of
from onnxq.tasks.head import Head, Part
from onnxq.tasks.roles import roles_of
from onnxq.tasks.tables import levels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from onnxq.tasks.base import Outputs, Overrides
    from onnxq.tasks.columns import Columns
    from onnxq.tasks.context import Context
    from onnxq.tasks.layout import Field, Seen
    from onnxq.tasks.tables import Table

__all__ = ["dense_head"]

_FEWEST_PLACES = 16
# Boxes as distributions over the bins of a side: 4 · 8, 4 · 16, 4 · 17 numbers for one box.
_DISTRIBUTIONS = (32, 64, 68)


@dataclass(frozen=True)
class _Scene:
    """What every step needs."""

    probes: Sequence[Outputs]
    context: Context
    overrides: Overrides

    @property
    def sure(self) -> bool:
        """Whether somebody said that it is a detector."""
        said = self.overrides.task == "detection" or self.overrides.boxes
        return bool(said) or self.context.detector


def dense_head(
    outputs: Sequence[Seen], probes: Sequence[Outputs], context: Context, overrides: Overrides
) -> Head | None:
    """Recognizes a dense head; None if there is none.

    Args:
        outputs: What the outputs hold.
        probes: The probe runs.
        context: What else is known of the model.
        overrides: What the user says.
    """
    scene = _Scene(probes, context, overrides)
    found = levels(outputs, context.size)
    several = [tables for tables in found if len(tables) > 1]
    single = [tables[0] for tables in found if len(tables) == 1]
    by_output = _from_roles(several, scene) if several else None
    if by_output is not None:
        return by_output
    heads = (_from_columns(tables, extras, scene) for tables, extras in _alike(single))
    return next((head for head in heads if head is not None), None)


def _alike(tables: Sequence[Table]) -> Iterator[tuple[list[Table], int]]:
    """Yields sets of tables that may be the levels of one head, with its number of extra columns.

    A map beside one table holds the masks that its last columns mix.
    """
    flat = [table for table in tables if len(table.level) == 1]
    maps = [table for table in tables if len(table.level) == 2]
    if len(flat) == 1:
        yield flat, 0
        if len(maps) == 1:
            yield flat, maps[0].columns
    for group in (flat, maps):
        if group and len({table.columns for table in group}) == 1 and (group is maps or group[1:]):
            yield group, 0


def _from_roles(groups: Sequence[Sequence[Table]], scene: _Scene) -> Head | None:
    levels_found = [roles_of(tables, scene.overrides) for tables in groups]
    parts = []
    for roles in levels_found:
        if roles is None:
            return None
        anchors = _anchors(roles.boxes, roles.scores)
        boxes, scores, gate = (
            None if table is None else table.split(anchors).field()
            for table in (roles.boxes, roles.scores, roles.objectness)
        )
        if boxes is None or scores is None:
            return None
        parts.append(Part(boxes, scores, gate))
    return _head(parts, scene)


def _anchors(boxes: Table, scores: Table) -> int:
    """Anchors that share a cell of a map: four box numbers for each."""
    count = boxes.columns // 4
    fits = len(boxes.level) == 2 and boxes.columns % 4 == 0 and scores.columns % count == 0
    return count if fits and boxes.columns not in _DISTRIBUTIONS else 1


def _from_columns(tables: Sequence[Table], extras: int, scene: _Scene) -> Head | None:
    for anchors in _likely_anchors(tables[0]):
        split = [table.split(anchors) for table in tables]
        grid = grid_of(sum(table.places for table in split), scene.context.size)
        hints = Hints(
            classes=scene.context.classes,
            several=anchors > 1 or (grid is not None and grid.anchors > 1),
            rows_first=split[0].layout.form == "rows",
            extras=extras,
            raw=scene.sure or len(tables) > 1,
        )
        rows = np.concatenate([table.rows() for table in split])
        columns = columns_of(rows, hints)
        if columns is None:
            continue
        # Without boxes that lie around cells, numbers in 0 … 1 may be anything.
        doubtful = not hints.raw and bool(bounded(rows).all())
        head = _head([_part(table, columns) for table in split], scene, doubtful=doubtful)
        if head is not None:
            return head
    return None


def _likely_anchors(table: Table) -> list[int]:
    """Anchors that may share the table's cells, the likeliest first.

    Columns that are partly scores show where an anchor ends; else three are the custom.
    """
    if len(table.level) == 1 or len(table.seen.shape) != 4:
        return [1]
    scores = bounded(table.rows())
    mixed = bool(scores.any() and not scores.all())
    order = (1, 3, 5) if mixed else (3, 5, 1)
    return [n for n in order if table.columns % n == 0 and table.columns // n >= 5]


def _part(table: Table, columns: Columns) -> Part:
    gate = columns.objectness
    return Part(
        table.field(*columns.boxes),
        table.field(*columns.scores),
        None if gate is None else table.field(gate, gate + 1),
    )


def _head(parts: Sequence[Part], scene: _Scene, *, doubtful: bool = False) -> Head | None:
    """Puts parts together and checks what they find."""
    boxes = [_rows([part.boxes], scene.probes) for part in parts]
    widths = {(_width(part.boxes, scene), _width(part.scores, scene)) for part in parts}
    if len(widths) > 1:
        return None
    picture = np.concatenate([part.boxes.take(scene.probes[0])[0] for part in parts])
    if len(picture) < _FEWEST_PLACES:
        return None
    form = box_form(
        np.concatenate(boxes),
        picture,
        scene.context.size,
        # The places of a map are cells for sure.
        levels=1 if parts[0].boxes.layout.form in ("map", "map-last") else 2,
        must_fit=doubtful,
    )
    if doubtful and form == "raw":
        return None
    gates = [part.objectness for part in parts if part.objectness is not None]
    head = Head(
        tuple(parts),
        form,
        score_form(_rows([part.scores for part in parts], scene.probes)),
        score_form(_rows(gates, scene.probes)) if gates else Head.objectness,
    )
    tables = [head.table(probe) for probe in scene.probes]
    scores = np.concatenate([table.reshape(-1, table.shape[2]) for table in tables])
    return head if scene.overrides.task == "detection" or sparse(scores) else None


def _rows(fields: Sequence[Field], probes: Sequence[Outputs]) -> npt.NDArray[np.float32]:
    tables = [field.take(probe) for field in fields for probe in probes]
    return np.concatenate([table.reshape(-1, table.shape[2]) for table in tables])


def _width(field: Field, scene: _Scene) -> int:
    return int(field.take(scene.probes[0]).shape[2])
