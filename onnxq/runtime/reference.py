"""Which form of the float model another model is to be compared with, layer by layer.

A rewrite keeps what a model computes, but not always what its values are: channels may lie in
another order. Where a value of the other model is closer by 3 dB to one form's than to those of all
others, that is a vote for this form; the form with most votes is the reference.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnxq.numerics.sqnr import SqnrSum
from onnxq.runtime.expose import produced_values
from onnxq.runtime.matching import comparable, forms_of
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.runtime.session import Feed

__all__ = ["choose_reference"]

_CLOSER_DB = 3.0


def choose_reference(
    candidates: Sequence[ir.Model], second: ir.Model, probe: Feed, *, threads: int = 1
) -> ir.Model:
    """Returns the form of the float model that the other one's values are closest to.

    Args:
        candidates: Forms of the float model; the first one wins where nothing speaks for another.
        second: The other model.
        probe: One sample.
        threads: Threads inside an operator.

    Raises:
        ModelError: onnxruntime refuses a model or the sample.
    """
    values = produced_values(second)
    first, *others = (produced_values(model) for model in candidates)
    shared = [name for name in first if all(name in other for other in others)]
    forms = {name: known[0] for name in shared if (known := forms_of(values, name))}
    wanted = [_run(model, list(forms), probe, threads) for model in candidates]
    found = _run(second, list(forms.values()), probe, threads)
    votes = [0] * len(candidates)
    for name, form in forms.items():
        levels = [_level(run.get(name), found.get(form)) for run in wanted]
        best = max(range(len(levels)), key=levels.__getitem__)
        rest = max((*levels[:best], *levels[best + 1 :]), default=-math.inf)
        votes[best] += levels[best] > rest + _CLOSER_DB
    return candidates[votes.index(max(votes))]


def _run(
    model: ir.Model, names: list[str], probe: Feed, threads: int
) -> dict[str, npt.NDArray[Any]]:
    return make_session(model, optimize=False, threads=threads, outputs=names).run(probe)


def _level(wanted: npt.NDArray[Any] | None, found: npt.NDArray[Any] | None) -> float:
    """Returns the SQNR in dB; minus infinity where there is none."""
    if wanted is None or found is None or not comparable(wanted, found):
        return -math.inf
    total = SqnrSum()
    total.add(wanted, found)
    return -math.inf if math.isnan(total.decibels) else total.decibels
