"""Which layer's own error costs most at the outputs.

For a layer L with end v: the float model is run on from v, with what the other model's layer L
makes of the float model's values in v's place. So the outputs y_L carry the error of L alone:

    cost(L) = Σ over outputs Σ(y_L - y)² / Σ y²
    total = the same for the outputs of the other model run whole
    share(L) = cost(L) / total

Errors of layers add up about; several may cancel, so that shares need not sum to 1. Outputs that
are no floating-point numbers, or that change their shape, are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.query import descendants
from onnxq.numerics.sqnr import SqnrSum
from onnxq.runtime.ahead import ahead
from onnxq.runtime.expose import produced_values
from onnxq.runtime.matching import comparable
from onnxq.runtime.pieces import PieceFinder, Pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.runtime.layer_errors import Observer, OwnOutputs
    from onnxq.runtime.session import Feed

    Values = Mapping[str, npt.NDArray[Any]]

__all__ = ["Rests", "shares"]


class Rests:
    """Runs the float model on from one value or another."""

    def __init__(
        self, real: ir.Model, values: Iterable[str], ends: Collection[str], *, threads: int = 1
    ) -> None:
        """Finds what is behind each value.

        Args:
            real: The float model.
            values: Names of the values to start from.
            ends: Names of all values that will be known: what does not depend on the value that is
                started from is not computed again.
            threads: Threads inside an operator.
        """
        produced = produced_values(real)
        outputs = [str(value.name) for value in real.graph.outputs if value.name in produced]
        self.outputs = tuple(outputs)
        finder = PieceFinder(real)
        self._pieces: dict[str, Pieces | None] = {}
        for value in values:
            behind = descendants([produced[value]])
            reached = [name for name in outputs if produced[name].producer() in behind]
            known = {value} | {name for name in ends if produced[name].producer() not in behind}
            self._pieces[value] = (
                Pieces([finder.find(reached, known)], threads=threads) if reached else None
            )

    def run(self, wanted: Values, value: str, changed: npt.NDArray[Any]) -> Values:
        """Returns the outputs that depend on ``value``, which is ``changed``, by name.

        Args:
            wanted: All values of the float model that are known, by name.
            value: One of those that were prepared.
            changed: What stands in its place, as the float model holds it.
        """
        outputs = {value: changed} if value in self.outputs else {}
        pieces = self._pieces[value]
        if pieces is not None:
            outputs |= pieces.run({**wanted, value: changed})[0]
        return outputs


def shares(
    rests: Rests,
    feeds: Iterable[Feed],
    observer: Observer,
    own: OwnOutputs,
    *,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Returns value name → share of the error at the outputs that its layer makes by itself.

    Args:
        rests: Of the float model, from the ends of the layers to try.
        feeds: Some samples.
        observer: Of both models.
        own: Of the layers to try, each of which costs a run of the float model for every sample.
        progress: Called with the number of samples done.

    Returns:
        Shares of 0 and more; empty where the outputs do not differ or cannot be compared.
    """

    def run(feed: Feed) -> tuple[Values, Values, dict[str, Values]]:
        wanted = observer.wanted(feed)
        outputs = {name: wanted[name] for name in rests.outputs}
        changed = {v: made.astype(wanted[v].dtype) for v, made in own.run(wanted).items()}
        alone = {value: rests.run(wanted, value, array) for value, array in changed.items()}
        return outputs, observer.found(feed), alone

    total = _Cost()
    costs: dict[str, _Cost] = {}
    for outputs, found, alone in ahead(run, feeds, progress=progress):
        total.add(outputs, found)
        for value, other in alone.items():
            costs.setdefault(value, _Cost()).add(outputs, other)
    if not total.value or not np.isfinite(total.value):
        return {}
    return {name: cost.value / total.value for name, cost in costs.items()}


class _Cost:
    """Σ over outputs of noise / signal."""

    def __init__(self) -> None:
        self._sums: dict[str, SqnrSum] = {}

    def add(self, wanted: Values, found: Values) -> None:
        for name, array in wanted.items():
            seen = found.get(name, array)
            if comparable(array, seen):
                self._sums.setdefault(name, SqnrSum()).add(array, seen)

    @property
    def value(self) -> float:
        return sum(s.noise / s.signal for s in self._sums.values() if s.signal)
