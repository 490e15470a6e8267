"""The task's loss with many layers rounded at once.

What layers cost one by one need not add up: where a detector's boxes are off already, a further
error costs little, and errors of two layers may meet in the same place. With all weights changed as
an allocation says, one run for each sample tells. Activations stay as they are.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxq.graph.edit import set_weight
from onnxq.graph.query import weight_of
from onnxq.runtime.expose import expose
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.runtime.session import Feed
    from onnxq.search.bit_costs import Changes
    from onnxq.tasks.loss import OutputLoss

    Array = npt.NDArray[Any]

__all__ = ["JointLoss", "Judgement"]


class Judgement(NamedTuple):
    """What rounding changes, and samples to judge it by.

    Attributes:
        changes: Name of a weight → bits → name of each value that changes → Δ.
        feeds: Samples.
    """

    changes: Changes
    feeds: Sequence[Feed]


class JointLoss:
    """See the module; remembers what was measured.

    Args:
        model: The float model, normalized.
        loss: Of the task.
        judgements: At least one, each with a sample.
        threads: Threads inside an operator.
    """

    def __init__(
        self, model: ir.Model, loss: OutputLoss, judgements: Sequence[Judgement], threads: int
    ) -> None:
        self._model = model
        self._loss = loss
        self._judgements = judgements
        self._threads = threads
        self._known: dict[tuple[tuple[str, int], ...], float] = {}

    def __call__(self, bits: Mapping[str, int]) -> float:
        """Returns the mean loss.

        Args:
            bits: Name of a weight → its bits; where no change is known, it is left as it is.
        """
        key = tuple(sorted(bits.items()))
        if key not in self._known:
            losses: list[float] = []
            for one, wanted in zip(self._judgements, self._wanted, strict=True):
                session = make_session(self._changed(one.changes, bits), threads=self._threads)
                found = map(session.run, one.feeds)
                losses.extend(map(self._loss.measure, wanted, found))
            self._known[key] = float(np.mean(losses))
        return self._known[key]

    @cached_property
    def _wanted(self) -> list[list[dict[str, Array]]]:
        session = make_session(self._model, outputs=self._loss.values, threads=self._threads)
        return [[session.run(feed) for feed in one.feeds] for one in self._judgements]

    def _changed(self, changes: Changes, bits: Mapping[str, int]) -> ir.Model:
        copy = expose(self._model, self._loss.values)
        for name, width in bits.items():
            for value, change in changes.get(name, {}).get(width, {}).items():
                given = copy.graph.initializers[value]
                own = np.asarray(weight_of(given))
                set_weight(given, (own + change).astype(own.dtype))
        return copy
