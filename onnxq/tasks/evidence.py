"""What the numbers of probe runs say about the columns of a table.

Rows are [rows, columns], the rows of all probes one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from onnxq.tasks.grid import grid_of, on_grid
from onnxq.tasks.head import ScoreForm, sigmoid

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.tasks.head import BoxForm

    Rows = npt.NDArray[np.float32]

__all__ = ["bounded", "box_form", "score_form", "sparse", "sparse_logits", "whole"]

_SLACK = 1e-3
_MOST_ROWS = 0.95
_SUM_SLACK = 1e-2
_DOMINANT = 0.5
_FILLED = 0.25
_SEEN_SCORE = 0.3


def bounded(rows: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Says of each column whether all its numbers lie in 0 … 1."""
    if not rows.shape[0]:
        return np.zeros(rows.shape[1], np.bool_)
    return np.asarray(((rows >= -_SLACK) & (rows <= 1 + _SLACK)).all(axis=0))


def whole(values: npt.NDArray[Any]) -> bool:
    """Says whether all numbers are whole and none is below -1: labels, or counts."""
    return bool((np.isfinite(values) & (values == np.round(values)) & (values >= -1)).all())


def sparse(scores: npt.NDArray[Any]) -> bool:
    """Says whether few rows score high in any column: a detector finds nothing at most places."""
    return bool((scores.max(axis=1) >= _SEEN_SCORE).mean() <= _FILLED)


def score_form(rows: Rows) -> ScoreForm:
    """Returns how columns of scores become scores by class.

    1. In 0 … 1, adding up to 1 over the classes: softmax is done; a first or last column that takes
       most is the background.
    2. In 0 … 1 otherwise: done.
    3. Anything else is a logit. If softmax gives nearly all to the first or last column at most
       places, and that column is positive there, it is the background; else sigmoid.
    """
    if bounded(rows).all():
        if rows.shape[1] < 2 or not _sums_to_one(rows):
            return ScoreForm()
        return ScoreForm("none", _background(rows))
    if rows.shape[1] >= 2:
        form = ScoreForm("softmax", _background(ScoreForm("softmax").scores(rows)))
        if form.background is not None and np.median(rows[:, form.background]) > 0:
            return form
    return ScoreForm("sigmoid")


def box_form(
    rows: Rows,
    picture: Rows,
    size: tuple[int, int] | None,
    *,
    levels: int = 2,
    must_fit: bool = False,
) -> BoxForm:
    """Returns what the four numbers of a box are.

    1. Corners are ordered; sizes are not negative.
    2. Where there is one row a cell (see :mod:`onnxq.tasks.grid`), boxes lie around their cells.

    Args:
        rows: Box numbers of all probes; anything but four of them is raw.
        picture: Those of one picture.
        size: Height and width of the input, in pixels.
        levels: Fewest levels of cells to look for.
        must_fit: Whether boxes without cells are taken for raw.
    """
    rows = rows[np.isfinite(rows).all(axis=1)]
    if rows.shape[1] != 4 or not len(rows):
        return "raw"
    if ((rows[:, 2] >= rows[:, 0]) & (rows[:, 3] >= rows[:, 1])).mean() >= _MOST_ROWS:
        form: BoxForm = "corners"
    elif (rows[:, 2:] >= 0).all(axis=1).mean() >= _MOST_ROWS:
        form = "centre"
    else:
        return "raw"
    grid = grid_of(len(picture), size, levels)
    if grid is None:
        return "raw" if must_fit else form
    centres = (picture[:, :2] + picture[:, 2:]) / 2 if form == "corners" else picture[:, :2]
    return form if on_grid(centres, grid) else "raw"


def sparse_logits(rows: Rows) -> bool:
    """As :func:`sparse`, for scores or logits."""
    return sparse(rows if bounded(rows).all() else sigmoid(rows))


def _sums_to_one(rows: Rows) -> bool:
    return bool((np.abs(rows.sum(axis=1) - 1) < _SUM_SLACK).mean() >= _MOST_ROWS)


def _background(scores: Rows) -> Literal[0, -1] | None:
    """The first or last column if it takes most of the sum; else None."""
    means = scores.mean(axis=0)
    place: Literal[0, -1] = 0 if means[0] >= means[-1] else -1
    return place if means[place] > _DOMINANT else None
