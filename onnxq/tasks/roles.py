"""Heads whose boxes and scores are outputs of their own: which output of a level is what.

Of the tables of one level:

1. What the user named is that.
2. Boxes: four columns; else a multiple of four that are no scores (GFL, several anchors). A name
   such as ``bbox`` or ``reg`` decides between several.
3. Scores: all in 0 … 1; else logits that are rare. A name such as ``cls`` decides.
4. Objectness: one column of scores beside others. One that is the sum of the scores repeats them.
5. Anything else (landmarks, masks) is not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.evidence import bounded, score_form, sparse_logits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxq.tasks.base import Overrides
    from onnxq.tasks.tables import Table

__all__ = ["Roles", "roles_of"]

_BOXES = re.compile(r"box|reg|loc|rect|dfl", re.IGNORECASE)
_SCORES = re.compile(r"cls|class|conf|score|prob|logit", re.IGNORECASE)
_OBJECTNESS = re.compile(r"obj|center|ctr|iou", re.IGNORECASE)


@dataclass(frozen=True)
class Roles:
    """The tables of one level.

    Attributes:
        boxes: Box numbers.
        scores: Scores by class.
        objectness: One score for all classes; None if there is none.
    """

    boxes: Table
    scores: Table
    objectness: Table | None = None


def roles_of(tables: Sequence[Table], overrides: Overrides) -> Roles | None:
    """Returns what each table of a level is; None if that is not clear."""
    boxes = _boxes(tables, overrides)
    if boxes is None:
        return None
    others = [table for table in tables if table is not boxes]
    named = [table for table in others if table.name in overrides.scores]
    likely = named or [table for table in others if _may_score(table)]
    single = [table for table in likely if table.columns == 1]
    many = [table for table in likely if table.columns > 1]
    scores = _only(many, _SCORES) if many else _only(single, _SCORES, besides=_OBJECTNESS)
    if scores is None:
        return None
    gates = [table for table in single if table is not scores and not _repeats(table, scores)]
    gate = _only(gates, _OBJECTNESS)
    return None if gates and gate is None else Roles(boxes, scores, gate)


def _boxes(tables: Sequence[Table], overrides: Overrides) -> Table | None:
    named = [table for table in tables if table.name in overrides.boxes]
    if named:
        return named[0] if len(named) == 1 else None
    free = [table for table in tables if table.name not in overrides.scores]
    four = [table for table in free if table.columns == 4]
    if not four:
        four = [t for t in free if t.columns % 4 == 0 and not bounded(t.rows()).all()]
        rare = [table for table in four if not sparse_logits(table.rows())]
        four = rare if len(four) > 1 and rare else four
    elif _only(four, _BOXES) is None:
        no_scores = [table for table in four if not bounded(table.rows()).all()]
        four = no_scores if len(no_scores) == 1 else four
    return _only(four, _BOXES)


def _may_score(table: Table) -> bool:
    rows = table.rows()
    if bounded(rows).all():
        return True
    form = score_form(rows)
    return sparse_logits(rows) or form.background is not None


def _only(
    tables: Sequence[Table], name: re.Pattern[str], besides: re.Pattern[str] | None = None
) -> Table | None:
    """The one table, or the one whose name fits, or the one whose name is not another's."""
    if len(tables) == 1:
        return tables[0]
    fitting = [table for table in tables if name.search(table.name)]
    if len(fitting) != 1 and besides is not None:
        fitting = [table for table in tables if not besides.search(table.name)]
    return fitting[0] if len(fitting) == 1 else None


def _repeats(table: Table, scores: Table) -> bool:
    sums = np.clip(scores.rows().sum(axis=1), 0, 1)
    return bool(np.abs(table.rows()[:, 0] - sums).max(initial=0) < 1e-2)
