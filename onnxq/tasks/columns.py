"""Heads whose boxes and scores share one table: which columns hold what.

Rules, the first that the probes' numbers allow:

1. objectness, boxes(4), classes: scores in 0 … 1, boxes not.
2. boxes(4), [objectness], classes: scores in 0 … 1 from column 4 on, boxes decoded or raw.
3. classes, boxes(4·m): scores in 0 … 1, boxes not (GFL: m = bins of a side's distribution).
4. boxes(4·m), classes: the same the other way round.
5. All raw, where several levels or the metadata say that it is a detector: boxes(64), classes
   (DFL); or boxes(4), objectness, classes; or boxes(4), classes. Scores must be rare.

Whether there is an objectness in front of the classes: by the number of classes that the metadata
name; else by the usual numbers of classes, several anchors a cell, or locations first ([1, n, 5+C]
is what exporters write with it, [1, 4+C, n] without).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.tasks.evidence import bounded, sparse_logits

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.tasks.evidence import Rows

__all__ = ["Columns", "Hints", "columns_of"]

_USUAL = (20, 80)
_DFL = 64


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of one row.

    Attributes:
        boxes: First and one behind the last box number.
        scores: The same for scores by class.
        objectness: Column of the objectness; None if there is none.
    """

    boxes: tuple[int, int]
    scores: tuple[int, int]
    objectness: int | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of a table beside its numbers.

    Attributes:
        classes: Number of classes; None = unknown.
        several: Whether a cell has several rows.
        rows_first: Whether locations come before numbers in the output.
        extras: Columns behind the scores that are no scores: mask coefficients.
        raw: Whether scores may be raw.
    """

    classes: int | None = None
    several: bool = False
    rows_first: bool = False
    extras: int = 0
    raw: bool = False


def columns_of(rows: Rows, hints: Hints) -> Columns | None:
    """Returns what the columns hold; None if no rule applies.

    Args:
        rows: Rows of all probes.
        hints: See there.
    """
    numbers = rows.shape[1]
    if numbers < 5:
        return None
    scores = bounded(rows)
    found = _objectness_first(scores) or _boxes_first(4, scores, hints) or _scores_first(scores)
    if found is None:
        start = 4 + int(np.argmax(scores[4:])) if scores[4:].any() else numbers
        regular = start % 4 == 0 and not scores[:start].all()
        found = _boxes_first(start, scores, hints) if regular else None
    return found or (_raw(rows, hints) if hints.raw else None)


def _boxes_first(start: int, scores: npt.NDArray[np.bool_], hints: Hints) -> Columns | None:
    """Rules 2 and 4."""
    end = len(scores) - hints.extras
    run = int(np.argmin(np.append(scores[start:end], False)))
    if run < 1:
        return None
    known = hints.classes
    if known is not None and run >= known:
        objectness = end - start == known + 1 and run > known
        first = start + objectness
        return Columns((0, start), (first, first + known), start if objectness else None)
    if start + run != end:
        return None
    if _has_objectness(run, hints) and start == 4:
        return Columns((0, 4), (5, end), 4)
    return Columns((0, start), (start, end))


def _has_objectness(columns: int, hints: Hints) -> bool:
    if columns < 2 or columns in _USUAL:
        return False
    return columns - 1 in _USUAL or hints.several or hints.rows_first


def _objectness_first(scores: npt.NDArray[np.bool_]) -> Columns | None:
    """Rule 1."""
    if len(scores) < 6 or not scores[0] or not scores[5:].all() or scores[1:3].any():
        return None
    return Columns((1, 5), (5, len(scores)), 0)


def _scores_first(scores: npt.NDArray[np.bool_]) -> Columns | None:
    """Rule 3."""
    classes = int(np.argmin(np.append(scores, False)))
    boxes = len(scores) - classes
    if classes < 1 or boxes < 4 or boxes % 4 or scores[classes:].all():
        return None
    return Columns((classes, len(scores)), (0, classes))


def _raw(rows: Rows, hints: Hints) -> Columns | None:
    """Rule 5."""
    end = rows.shape[1]
    known = hints.classes
    if known is not None and (boxes := end - known) >= 4:
        if boxes == 5:
            return Columns((0, 4), (5, end), 4)
        return Columns((0, boxes), (boxes, end)) if boxes % 4 == 0 else None
    if end > _DFL and sparse_logits(rows[:, _DFL:]) and not sparse_logits(rows[:, :_DFL]):
        return Columns((0, _DFL), (_DFL, end))
    if end >= 6 and end - 4 not in _USUAL and sparse_logits(rows[:, 4:5]):
        return Columns((0, 4), (5, end), 4)
    return Columns((0, 4), (4, end)) if sparse_logits(rows[:, 4:]) else None
