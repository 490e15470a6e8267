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

from onnxq.numerics.sqnr import SqnrSum
from onnxq.runtime.layer_errors import own_output
from onnxq.runtime.pieces import Piece
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.channel_fit import ChannelFit
    from onnxq.runtime.layer_errors import Observer
    from onnxq.runtime.matching import MatchedLayer
    from onnxq.runtime.session import Feed

    Values = Mapping[str, npt.NDArray[Any]]

__all__ = ["shares"]


def shares(  # noqa: PLR0913 (two models, and what was found out on them)
    real: ir.Model,
    second: ir.Model,
    suspects: Sequence[MatchedLayer],
    feeds: Iterable[Feed],
    observer: Observer,
    fits: Mapping[str, ChannelFit],
    *,
    threads: int = 1,
) -> dict[str, float]:
    """Returns value name → share of the error at the outputs that its layer makes by itself.

    Args:
        real: The float model.
        second: The other one.
        suspects: The layers to try, each a run of the float model.
        feeds: Some samples.
        observer: Of both models.
        fits: Of the values that the second model scales.
        threads: Threads inside an operator.

    Returns:
        Shares of 0 and more; empty where the outputs do not differ or cannot be compared.
    """
    names = [str(value.name) for value in real.graph.outputs]
    first = make_session(real, optimize=False, threads=threads)
    other = make_session(second, optimize=False, threads=threads)
    rests = {layer.value: _Rest(real, layer.value, names, threads) for layer in suspects}
    total = _Cost()
    costs = {layer.value: _Cost() for layer in suspects}
    for feed in feeds:
        outputs, wanted = first.run(feed), observer.wanted(feed)
        total.add(outputs, other.run(feed))
        for layer in suspects:
            changed = own_output(layer, wanted, fits).astype(wanted[layer.value].dtype)
            costs[layer.value].add(outputs, rests[layer.value].run(wanted, changed))
    if not total.value or not np.isfinite(total.value):
        return {}
    return {name: cost.value / total.value for name, cost in costs.items()}


class _Rest:
    """What the float model computes from one value on."""

    def __init__(self, real: ir.Model, value: str, outputs: Sequence[str], threads: int) -> None:
        self._value, self._piece = value, None
        produced = {str(item.name) for node in real.graph for item in node.outputs}
        behind = [name for name in outputs if name != value and name in produced]
        reached = [
            name for name in behind if value in Piece(real, [name], [value], threads=threads).inputs
        ]
        self._itself = value in outputs
        if reached:
            self._piece = Piece(real, reached, [value], threads=threads)

    def run(self, wanted: Values, changed: npt.NDArray[Any]) -> Values:
        """Returns the outputs that depend on the value, which is ``changed``."""
        outputs = {self._value: changed} if self._itself else {}
        if self._piece is not None:
            outputs |= self._piece.run({**wanted, self._value: changed})
        return outputs


class _Cost:
    """Σ over outputs of noise / signal."""

    def __init__(self) -> None:
        self._sums: dict[str, SqnrSum] = {}

    def add(self, wanted: Values, found: Values) -> None:
        for name, array in wanted.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                continue
            seen = found.get(name, array)
            if isinstance(seen, np.ndarray) and seen.shape == array.shape:
                self._sums.setdefault(name, SqnrSum()).add(array, seen)

    @property
    def value(self) -> float:
        return sum(s.noise / s.signal for s in self._sums.values() if s.signal)
