"""One model of a study, with calibration samples, labelled data and a metric."""

from __future__ import annotations

import abc
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tools.models.evaluate import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    import onnxruntime as ort

__all__ = ["Case", "Found"]


class Found(NamedTuple):
    """What a model finds in labelled data.

    Attributes:
        entries: One entry per sample.
        metric: Percent, top-1 or mAP.
    """

    entries: Sequence[Any]
    metric: float


class Case(abc.ABC):
    """A model that a study looks at.

    Attributes:
        name: For tables.
        model: Path of the float model, which has one input.
        limit: Number of labelled samples to use; None = all.
        detects: Whether it finds boxes, and not classes.
    """

    detects = False

    def __init__(self, name: str, model: Path, limit: int | None = None) -> None:
        self.name = name
        self.model = model
        self.limit = limit

    def calibration(
        self, seed: int, count: int, skipped: int = 0
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Returns ``count`` calibration samples, drawn without return, by input name.

        Args:
            seed: Of the order in which they are drawn.
            count: How many, at most.
            skipped: How many are drawn before.
        """
        order = np.random.default_rng(seed).permutation(len(self._samples))
        order = order[skipped : skipped + count]
        name = open_session(self.model).get_inputs()[0].name
        return {name: self._samples[np.sort(order)]}

    @cached_property
    def base(self) -> Found:
        """What the float model finds."""
        return self.find(self.model)

    def find(self, model: Path, *, optimize: bool = True) -> Found:
        """Returns what a model with the same inputs and outputs finds.

        Args:
            model: Its file.
            optimize: With onnxruntime's optimizations, or as it is written.
        """
        entries = self._predict(open_session(model, optimize=optimize))
        return Found(entries, self._metric(entries))

    def fidelity(self, found: Found) -> float:
        """Returns how far a model finds what the float model finds, in percent."""
        return self.agreement(self.base, found)

    def agreement(self, one: Found, other: Found) -> float:
        """Returns how far two models find the same, in percent; ``one`` stands for the truth."""
        return self._agreement(one.entries, other.entries)

    @cached_property
    def _samples(self) -> npt.NDArray[np.float32]:
        return self._pool()

    @abc.abstractmethod
    def _pool(self) -> npt.NDArray[np.float32]:
        """Returns all calibration samples, [n, ...]."""

    @abc.abstractmethod
    def _predict(self, session: ort.InferenceSession) -> Sequence[Any]:
        """Returns what the model finds in each labelled sample."""

    @abc.abstractmethod
    def _metric(self, entries: Sequence[Any]) -> float:
        """Returns the metric of what was found, in percent."""

    @abc.abstractmethod
    def _agreement(self, base: Sequence[Any], other: Sequence[Any]) -> float:
        """Returns how far two models found the same, in percent."""
