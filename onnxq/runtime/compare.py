"""How far the outputs of two models are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.numerics.sqnr import SqnrSum
from onnxq.runtime.matching import comparable
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnxq.runtime.session import Feed, ModelLike

__all__ = ["Reference"]


class Reference:
    """A model's outputs on some samples, kept to compare other models with."""

    def __init__(self, model: ModelLike, feeds: Iterable[Feed], *, threads: int = 1) -> None:
        """Runs ``model``, fully optimized, once on every sample."""
        session = make_session(model, threads=threads)
        self._threads = threads
        self._runs = [(feed, session.run(feed)) for feed in feeds]

    def sqnr(self, other: ModelLike) -> dict[str, float]:
        """Returns output name → SQNR of ``other`` in dB.

        Outputs that are not floating point, or whose shape differs, are left out.
        """
        session = make_session(other, threads=self._threads)
        sums: dict[str, SqnrSum] = {}
        for feed, outputs in self._runs:
            found = session.run(feed)
            for name, wanted in outputs.items():
                if comparable(wanted, found[name]):
                    sums.setdefault(name, SqnrSum()).add(wanted, found[name])
        return {name: total.decibels for name, total in sums.items()}
