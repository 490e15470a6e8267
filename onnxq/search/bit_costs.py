"""What it costs at the outputs to store a weight in few bits: five ways to tell.

With Δ the change of a weight (``onnxq.search.weight_changes``), and H the curvature of the task's
loss by the weight, of size n,

========== ============================ ===========================================================
quadratic  ½ Δᵀ H Δ                     by random cotangents, ``onnxq.search.sensitivity``; in units
                                        of the loss
measured   loss of the changed model    in units of the loss; takes a run for each layer, width and
                                        sample
trace      tr(H) / n · ‖Δ‖²             HAWQ-V2, Dong et al. 2020, section 3
eigenvalue λ(H) / n · ‖Δ‖²              HAWQ, Dong et al. 2019, section 3: top eigenvalue
sqnr       noise / signal at outputs    Pandey et al. 2023, "A Practical Mixed Precision Algorithm
                                        for Post-Training Quantization": needs no loss
========== ============================ ===========================================================

More bits never cost more than fewer: what estimates say otherwise is noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnxq.errors import DataError
from onnxq.graph.query import weight_of
from onnxq.runtime.expose import expose
from onnxq.runtime.session import make_session
from onnxq.search.eigenvalue import top_eigenvalue
from onnxq.search.sensitivity import probe_curvature
from onnxq.tasks.loss import GenericLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.runtime.session import Feed
    from onnxq.tasks.loss import OutputLoss

    Array = npt.NDArray[Any]
    Costs = dict[str, dict[int, float]]

__all__ = ["Changes", "bit_costs"]

Changes: TypeAlias = "Mapping[str, Mapping[int, Mapping[str, Array]]]"
"""Name of a weight → bits → name of each value that changes → Δ."""


_PROBES = 64
_EIGENVALUE_FEEDS = 4


def bit_costs(  # noqa: PLR0913 (the last two have defaults and are named at the call)
    model: ir.Model,
    loss: OutputLoss,
    feeds: Sequence[Feed],
    changes: Changes,
    method: str = "quadratic",
    *,
    seed: int = 0,
    threads: int = 1,
) -> Costs:
    """Returns what each change costs.

    Args:
        model: The float model, normalized.
        loss: Of the task.
        feeds: Samples.
        changes: What storing each weight in so many bits changes.
        method: One of the module's.
        seed: Of what is drawn.
        threads: Threads inside an operator.

    Returns:
        Name of the weight → bits → cost, 0 or more, falling with the bits.

    Raises:
        DataError: There is no sample.
        ModelError: The model cannot be differentiated, where the method asks for it.
    """
    if not feeds:
        raise DataError("no sample to estimate sensitivity on; give --data with at least one")
    if method == "measured":
        found = _measured(model, loss, feeds, changes, threads)
    elif method == "sqnr":
        outputs = GenericLoss([str(value.name) for value in model.graph.outputs])
        found = _measured(model, outputs, feeds, changes, threads)
    elif method == "eigenvalue":
        found = _by_eigenvalue(model, loss, feeds[:_EIGENVALUE_FEEDS], changes, seed, threads)
    else:
        probes = max(1, _PROBES // len(feeds))
        curvature = probe_curvature(
            model, loss, feeds, changes, probes=probes, seed=seed, threads=threads
        )
        if method == "trace":
            found = _by_norm(changes, lambda name: curvature.traces[name] / curvature.sizes[name])
        else:
            found = {name: dict(costs) for name, costs in curvature.costs.items()}
    return {name: _falling(costs) for name, costs in found.items()}


def _measured(
    model: ir.Model, loss: OutputLoss, feeds: Sequence[Feed], changes: Changes, threads: int
) -> Costs:
    forward = make_session(model, outputs=loss.values, threads=threads)
    wanted = [forward.run(feed) for feed in feeds]
    cut = expose(model, loss.values)
    found: Costs = {}
    for name, options in changes.items():
        names = list(dict.fromkeys(one for change in options.values() for one in change))
        own = {one: np.asarray(weight_of(model.graph.initializers[one])) for one in names}
        session = make_session(_fed(cut, names), threads=threads)
        found[name] = {}
        for bits, change in options.items():
            given = {one: own[one] + change.get(one, np.float32(0)) for one in names}
            losses = [
                loss.measure(real, session.run({**feed, **given}))
                for real, feed in zip(wanted, feeds, strict=True)
            ]
            found[name][bits] = float(np.mean(losses))
    return found


def _fed(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """Returns a copy of ``model`` that takes these weights as inputs."""
    copy = model.clone()
    for name in names:
        value = copy.graph.initializers.pop(name)
        value.const_value = None
        copy.graph.inputs.append(value)
    return copy


def _by_eigenvalue(  # noqa: PLR0913 (as of bit_costs)
    model: ir.Model,
    loss: OutputLoss,
    feeds: Sequence[Feed],
    changes: Changes,
    seed: int,
    threads: int,
) -> Costs:
    def mean(name: str) -> float:
        top = top_eigenvalue(model, loss, feeds, name, seed=seed, threads=threads)
        return max(top, 0.0) / np.asarray(weight_of(model.graph.initializers[name])).size

    return _by_norm(changes, mean)


def _by_norm(changes: Changes, factor: Callable[[str], float]) -> Costs:
    found: Costs = {}
    for name, options in changes.items():
        own = factor(name)
        found[name] = {
            bits: own * float(np.vdot(change[name], change[name].astype(np.float64)))
            for bits, change in options.items()
        }
    return found


def _falling(costs: Mapping[int, float]) -> dict[int, float]:
    """Returns costs that do not rise with the bits; what is no number is infinite."""
    least, found = np.inf, {}
    for bits in sorted(costs):
        cost = costs[bits]
        least = min(least, np.inf if np.isnan(cost) else max(cost, 0.0))
        found[bits] = float(least)
    return found
