"""What every task is made of: its fidelity, and the comparison that adds it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxq.numerics.interval import wilson_interval
from onnxq.numerics.sqnr import SqnrSum
from onnxq.tasks.loss import GenericLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from onnxq.tasks.head import Reader
    from onnxq.tasks.loss import OutputLoss

__all__ = [
    "Agreement",
    "BoxFidelity",
    "Comparison",
    "Outputs",
    "Overrides",
    "Task",
    "TaskFidelity",
    "generic",
]

Outputs: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Output name → array, of one run."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the quantized model's answer is the float model's, on held-out samples.

    Attributes:
        value: Share of equal answers, in [0, 1].
        n: Number of answers compared.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    value: float
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, equal: int, n: int) -> Self:
        """Makes it from counts.

        Args:
            equal: Equal answers.
            n: Answers compared; at least 1.
        """
        low, high = wilson_interval(equal, n)
        return cls(equal / n, n, low, high)


@dataclass(frozen=True, slots=True)
class BoxFidelity:
    """How well the quantized model finds the float model's boxes, on held-out samples.

    Attributes:
        wanted: Boxes that the float model finds.
        found: Boxes that the quantized model finds.
        matched: Pairs of one of each.
        mean_iou: Mean overlap of the pairs, in [0, 1]; None without pairs, or where boxes cannot
            be decoded.
        mean_ap: Mean average precision of the quantized model with the float model's boxes as
            truth, COCO's IoU 0.5 … 0.95; None as for ``mean_iou``.
        drift: Where boxes cannot be decoded: Σ|found - wanted| / Σ|wanted| over the raw box numbers
            of the pairs.
        by_place: Whether pairs are equal places and classes, as boxes cannot be decoded.
    """

    wanted: int
    found: int
    matched: int
    mean_iou: float | None = None
    mean_ap: float | None = None
    drift: float | None = None
    by_place: bool = False

    @property
    def precision(self) -> float | None:
        """Share of the found boxes that are wanted; None if none was found."""
        return self.matched / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Share of the wanted boxes that were found; None if none was wanted."""
        return self.matched / self.wanted if self.wanted else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None if neither model finds a box."""
        total = self.wanted + self.found
        return 2 * self.matched / total if total else None


@dataclass(frozen=True)
class TaskFidelity:
    """How close the quantized model's outputs are to the float model's.

    Attributes:
        sqnr: Output name → signal-to-quantization-noise ratio in dB; infinite where nothing
            differs. Outputs that are not floating point, or change their shape, are absent.
        agreement: Top-1 agreement, for classifiers.
        boxes: For detectors.
    """

    sqnr: Mapping[str, float] = field(default_factory=dict)
    agreement: Agreement | None = None
    boxes: BoxFidelity | None = None


class Comparison:
    """Compares outputs sample by sample; this one by SQNR alone, tasks add what they know."""

    def __init__(self) -> None:
        self._noises: dict[str, SqnrSum] = {}

    def add(self, wanted: Outputs, found: Outputs) -> None:
        """Adds one run.

        Args:
            wanted: Outputs of the float model.
            found: Outputs of the quantized model on the same inputs, by the same names.
        """
        for name, array in wanted.items():
            same_form = isinstance(array, np.ndarray) and array.shape == found[name].shape
            if same_form and array.dtype.kind == "f":
                self._noises.setdefault(name, SqnrSum()).add(array, found[name])

    def fidelity(self) -> TaskFidelity:
        """Returns what all runs so far sum up to."""
        return TaskFidelity({name: noise.decibels for name, noise in self._noises.items()})


def _generic_loss(model: ir.Model) -> OutputLoss:
    return GenericLoss([str(value.name) for value in model.graph.outputs])


@dataclass(frozen=True)
class Task:
    """What a model's outputs mean.

    Attributes:
        name: "classification", "detection" or "generic".
        description: What was recognized, in one line.
        comparison: Makes an empty comparison.
        reader: Of a detector, turns outputs into boxes; else None.
        loss: Makes the loss that a search minimizes, for the model as it is then: rewrites may have
            renamed what is no output.
    """

    name: str
    description: str
    comparison: Callable[[], Comparison]
    reader: Reader | None = None
    loss: Callable[[ir.Model], OutputLoss] = _generic_loss


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the user says about the outputs.

    Attributes:
        task: "auto", "classification", "detection" or "generic".
        boxes: Outputs that hold boxes; empty = recognize them.
        scores: Outputs that hold scores; empty = recognize them.
    """

    task: str = "auto"
    boxes: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()


def generic(why: str) -> Task:
    """Returns the task that fits every model.

    Args:
        why: What about the outputs is known.
    """
    return Task("generic", f"generic: {why}", Comparison)
