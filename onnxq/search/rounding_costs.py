"""What it costs at the outputs to round activations, each value alone: by curvature, or measured.

A measured cost is the loss of the float model that goes on from the rounded value. To round in 8
bits is a small change, but a detector's loss has a kink where boxes are equal, next to which its
curvature tells too little.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.numerics.affine import dequantize, quantize
from onnxq.runtime.pieces import PieceFinder, copied
from onnxq.runtime.session import make_session
from onnxq.search.sensitivity import probe_curvature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan
    from onnxq.runtime.pieces import Piece
    from onnxq.runtime.session import Feed, Session
    from onnxq.tasks.loss import OutputLoss

    Array = npt.NDArray[Any]

__all__ = ["rounded_values", "rounding_costs"]

_CODED = "coded"


def rounding_costs(  # noqa: PLR0913 (the last two have defaults and are named at the call)
    model: ir.Model,
    loss: OutputLoss,
    feeds: Sequence[Feed],
    plan: QuantPlan,
    *,
    measured: bool = False,
    seed: int = 0,
    threads: int = 1,
) -> dict[str, float]:
    """Returns value name → loss, for the values that :func:`rounded_values` names.

    Args:
        model: The float model, normalized.
        loss: Of the task; values behind what it looks at are left out.
        feeds: Samples, at least one.
        plan: With params.
        measured: Whether the loss is measured, which takes a run for each value and sample.
        seed: Of the cotangents.
        threads: Threads inside an operator.
    """
    plans = {name: plan.values[name] for name in rounded_values(model, loss, plan)}
    if not plans:
        return {}
    if measured:
        return _measured(model, loss, feeds, plans, threads)
    changes = {name: {_CODED: partial(_change, planned)} for name, planned in plans.items()}
    found = probe_curvature(model, loss, feeds, changes, seed=seed, threads=threads)
    return {name: costs[_CODED] for name, costs in found.costs.items()}


def rounded_values(model: ir.Model, loss: OutputLoss, plan: QuantPlan) -> list[str]:
    """Returns the names of what nodes compute, ``plan`` quantizes and the loss depends on.

    Args:
        model: The float model, normalized.
        loss: Of the task.
        plan: With params.
    """
    ahead = _ahead_of(model, loss)
    return [
        name
        for name, planned in plan.values.items()
        if name in ahead and planned.params is not None
    ]


def _measured(
    model: ir.Model,
    loss: OutputLoss,
    feeds: Sequence[Feed],
    plans: Mapping[str, ValuePlan],
    threads: int,
) -> dict[str, float]:
    forward, finder = make_session(model, outputs=loss.values, threads=threads), PieceFinder(model)
    wanted = [forward.run(feed) for feed in feeds]
    found = {}
    for name, planned in plans.items():
        ahead = _session(finder.find([name], ()), threads)
        behind = _session(finder.find(loss.values, {name}), threads)
        losses = []
        for feed, real in zip(feeds, wanted, strict=True):
            held = _run(ahead, feed)[name]
            given = {**feed, name: held + _change(planned, held).astype(held.dtype)}
            outputs = _run(behind, given)
            if name in outputs:
                outputs[name] = given[name]
            losses.append(loss.measure(real, outputs))
        found[name] = float(np.mean(losses))
    return found


def _session(piece: Piece, threads: int) -> Session:
    return make_session(ir.Model(copied(piece), ir_version=piece.model.ir_version), threads=threads)


def _run(session: Session, given: Feed) -> dict[str, Array]:
    return session.run({name: given[name] for name in session.inputs})


def _ahead_of(model: ir.Model, loss: OutputLoss) -> set[str]:
    """Returns the names of computed values that what the loss looks at depends on, it included."""
    found = set(loss.values)
    for node in reversed(list(model.graph)):
        if any(str(out.name) in found for out in node.outputs):
            found |= {str(value.name) for value in node.inputs if value is not None}
    produced = {str(out.name) for node in model.graph for out in node.outputs}
    return found & produced


def _change(plan: ValuePlan, held: Array) -> Array:
    assert plan.params is not None
    scale, zero_point = plan.params.scale, plan.params.zero_point
    limits = (plan.spec.dtype.qmin, plan.spec.dtype.qmax)
    codes = quantize(np.asarray(held, np.float32), scale, zero_point, limits, plan.spec.axis)
    return dequantize(codes, scale, zero_point, plan.spec.axis) - held
