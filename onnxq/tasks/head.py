"""A dense detector's head: outputs → candidates with a class, a score and box numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from onnxq.tasks.boxes import Detections

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.tasks.base import Outputs
    from onnxq.tasks.layout import Field

__all__ = ["BoxForm", "Head", "Part", "Reader", "ScoreForm", "detections", "sigmoid"]

BoxForm = Literal["corners", "centre", "raw"]
_MOST = 1000


class Reader(Protocol):
    """Turns a run's outputs into detections."""

    @property
    def decoded(self) -> bool:
        """Whether the detections' boxes are corners; else their numbers are raw."""

    def read(self, outputs: Outputs, floor: float) -> list[Detections]:
        """Returns the detections of each picture, best first, that score ``floor`` or more."""


@dataclass(frozen=True, slots=True)
class ScoreForm:
    """How columns become scores in [0, 1].

    Attributes:
        activation: What is still to be applied.
        background: Position of a column that stands for "nothing": 0, -1, or None.
    """

    activation: Literal["none", "sigmoid", "softmax"] = "none"
    background: Literal[0, -1] | None = None

    def scores(self, columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Returns scores by class along the last axis."""
        if self.activation == "sigmoid":
            columns = sigmoid(columns)
        elif self.activation == "softmax":
            # A broken model may give infinities; what is no number then never counts.
            with np.errstate(invalid="ignore"):
                columns = np.exp(columns - columns.max(axis=-1, keepdims=True))
                columns = columns / columns.sum(axis=-1, keepdims=True)
        if self.background is None:
            return columns
        return columns[..., 1:] if self.background == 0 else columns[..., :-1]

    def pulled(
        self, columns: npt.NDArray[np.float32], slope: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Returns the derivative by ``columns`` for that by :meth:`scores`' result."""
        if self.background is not None:
            ahead, behind = (1, 0) if self.background == 0 else (0, 1)
            slope = np.pad(slope, [(0, 0)] * (slope.ndim - 1) + [(ahead, behind)])
        if self.activation == "none":
            return slope
        whole = ScoreForm(self.activation).scores(columns)
        if self.activation == "sigmoid":
            return slope * whole * (1 - whole)
        return np.asarray(whole * (slope - (slope * whole).sum(axis=-1, keepdims=True)))


@dataclass(frozen=True)
class Part:
    """The fields of one level of a head; all have the same rows.

    Attributes:
        boxes: Box numbers.
        scores: Scores by class.
        objectness: One score for all classes, which multiplies theirs.
    """

    boxes: Field
    scores: Field
    objectness: Field | None = None


@dataclass(frozen=True)
class Head:
    """A head whose rows are places; see :class:`Reader`.

    Attributes:
        parts: Its levels.
        boxes: What the box numbers are: corners, centre and size, or raw.
        scores: How scores are read.
        objectness: How the objectness is read.
    """

    parts: tuple[Part, ...]
    boxes: BoxForm
    scores: ScoreForm
    objectness: ScoreForm = ScoreForm()

    @property
    def decoded(self) -> bool:
        """See :class:`Reader`."""
        return self.boxes != "raw"

    def read(self, outputs: Outputs, floor: float) -> list[Detections]:
        """See :class:`Reader`."""
        boxes = np.concatenate([part.boxes.take(outputs) for part in self.parts], axis=1)
        scores = self.table(outputs)
        return [self._picture(*picture, floor) for picture in zip(boxes, scores, strict=True)]

    def table(self, outputs: Outputs) -> npt.NDArray[np.float32]:
        """Returns the scores of all places, float32 [batch, places, classes]."""
        return np.concatenate([self._scores(part, outputs) for part in self.parts], axis=1)

    def add_slope(
        self,
        slope: npt.NDArray[np.float32],
        outputs: Outputs,
        to: dict[str, npt.NDArray[np.float32]],
    ) -> None:
        """Adds the derivative by the outputs for that by :meth:`table`'s result.

        Args:
            slope: float32 [batch, places, classes].
            outputs: Where it is taken.
            to: Arrays in the outputs' shapes, by name.
        """
        start = 0
        for part in self.parts:
            columns = part.scores.take(outputs)
            mine = slope[:, start : start + columns.shape[1]]
            start += columns.shape[1]
            if part.objectness is not None:
                gates = part.objectness.take(outputs)
                by_gate = (mine * self.scores.scores(columns)).sum(axis=-1, keepdims=True)
                part.objectness.add(self.objectness.pulled(gates, by_gate), to)
                mine = mine * self.objectness.scores(gates)
            part.scores.add(self.scores.pulled(columns, mine), to)

    def _scores(self, part: Part, outputs: Outputs) -> npt.NDArray[np.float32]:
        scores = self.scores.scores(part.scores.take(outputs))
        if part.objectness is None:
            return scores
        with np.errstate(over="ignore", invalid="ignore"):
            return scores * self.objectness.scores(part.objectness.take(outputs))

    def _picture(
        self, boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], floor: float
    ) -> Detections:
        places, labels = np.nonzero(scores >= floor)
        chosen = boxes[places]
        if self.boxes == "centre":
            centre, half = chosen[:, :2], chosen[:, 2:4] / 2
            with np.errstate(over="ignore", invalid="ignore"):
                chosen = np.concatenate([centre - half, centre + half], axis=1)
        return detections(chosen, scores[places, labels], labels, places)


def detections(
    boxes: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    places: npt.NDArray[np.int64] | None = None,
) -> Detections:
    """Returns detections, best first; those whose box is no number are left out."""
    finite = np.flatnonzero(np.isfinite(boxes).all(axis=1) & np.isfinite(scores))
    order = finite[np.argsort(-scores[finite], kind="stable")][:_MOST]
    found = Detections(
        boxes.astype(np.float32, copy=False),
        scores.astype(np.float32, copy=False),
        labels.astype(np.int64),
        places,
    )
    return found.take(order)


def sigmoid(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns 1 / (1 + exp(-values)), without overflow."""
    result: npt.NDArray[np.float32] = np.exp(-np.logaddexp(np.float32(0), -values))
    return result
