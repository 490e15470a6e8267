"""What it costs to change a value: the curvature of the task's loss along the change.

At the float model the loss is 0 and so is its gradient, so that a change Δ of a weight or of an
activation costs, to second order and with J the derivative of the outputs,

    ½ Δᵀ H Δ,    H = Jᵀ S J

S is the loss' curvature at the outputs. A random cotangent d with E[d dᵀ] = S
(:meth:`onnxq.tasks.loss.OutputLoss.draw`) gives g = Jᵀ d with E[g gᵀ] = H, so one backward pass for
all values at once, repeated K times over N batches, estimates for each of them

    Ω  = 1/(2NK) Σ ⟨g, Δ⟩²          the full quadratic form, for any number of changes Δ
    tr = 1/(NK)  Σ ‖g‖²             the trace of H (HAWQ-V2, Dong et al. 2020, by Hutchinson)

The entries of d are independent over the samples of a batch, so no gradients per sample are needed.
Ω is in units of the loss. Δ is whatever rounding really does, and gradients are not kept: their dot
products are. HAWQ-V2 itself ranks by tr / n · ‖Δ‖², n being the size (:meth:`Curvature.by_trace`).

It is assumed that changes are small: at 2 bits a weight's Ω is about half of what it really costs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from onnxq.autodiff.vjp import vjp
from onnxq.errors import DataError
from onnxq.runtime.expose import produced_values
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir

    from onnxq.autodiff.vjp import Differentiated
    from onnxq.runtime.session import Feed, Session
    from onnxq.tasks.loss import OutputLoss

__all__ = ["Change", "Curvature", "probe_curvature"]

Array: TypeAlias = npt.NDArray[Any]
Change: TypeAlias = Array | Callable[[Array], Array] | Mapping[str, Array]
"""Δ, of the value's shape; of an activation, a function from what it holds to Δ; of several weights
that change together, the Δ of each by name."""
Option = TypeVar("Option", bound=Hashable)


@dataclass(frozen=True)
class Curvature:
    """What the probes found.

    Attributes:
        costs: Value name → option → Ω, the loss that the change is expected to cost.
        traces: Value name → trace of H, of the mean loss of a batch.
        sizes: Value name → number of elements, of one batch for an activation.
        probes: How many cotangents were drawn.
    """

    costs: Mapping[str, Mapping[Any, float]]
    traces: Mapping[str, float]
    sizes: Mapping[str, int]
    probes: int

    def by_trace(self, name: str, change: Array) -> float:
        """Returns HAWQ-V2's sensitivity, mean trace times squared change."""
        change = change.astype(np.float64)
        return self.traces[name] / self.sizes[name] * float(np.vdot(change, change))


def probe_curvature(  # noqa: PLR0913 (the last three have defaults and are named at the call)
    model: ir.Model,
    loss: OutputLoss,
    feeds: Iterable[Feed],
    changes: Mapping[str, Mapping[Option, Change]],
    *,
    probes: int = 1,
    seed: int = 0,
    threads: int = 1,
) -> Curvature:
    """Estimates what changes of values cost.

    Args:
        model: The float model, normalized.
        loss: Of the task; it is at its minimum at the model's own outputs.
        feeds: Batches; one graph is made for each shape among them.
        changes: Name of a weight, or of a value that a node computes → option → change. Without
            options only the trace is estimated.
        probes: K, cotangents per batch.
        seed: Of the cotangents.
        threads: Threads inside an operator.

    Raises:
        DataError: There is no batch.
        ModelError: There is no gradient by one of the values.
    """
    sums = _Sums(changes)
    names = _changed(changes)
    rng = np.random.default_rng(seed)
    graphs: dict[tuple[tuple[str, tuple[int, ...]], ...], _Graph] = {}
    for feed in feeds:
        shapes = tuple((name, array.shape) for name, array in feed.items())
        if shapes not in graphs:
            graphs[shapes] = _Graph.make(model, loss, names, feed, threads)
        graph = graphs[shapes]
        wanted = graph.forward.run(feed)
        for _ in range(probes):
            sums.add(*graph.run(feed, loss.draw(wanted, rng)))
    return sums.result()


def _changed(changes: Mapping[str, Mapping[Any, Change]]) -> list[str]:
    """Returns the names of all values that change."""
    names = dict.fromkeys(changes)
    for options in changes.values():
        for change in options.values():
            names |= dict.fromkeys(change if isinstance(change, Mapping) else ())
    return list(names)


@dataclass(frozen=True)
class _Graph:
    """The sessions for batches of one shape.

    Attributes:
        forward: Returns what the loss looks at.
        backward: Returns gradients and the activations among the values.
        found: Names of its inputs and outputs.
        activations: Which values nodes compute.
    """

    forward: Session
    backward: Session
    found: Differentiated
    activations: tuple[str, ...]

    @classmethod
    def make(
        cls, model: ir.Model, loss: OutputLoss, names: list[str], feed: Feed, threads: int
    ) -> _Graph:
        """Differentiates the model for the shapes of ``feed``."""
        found = vjp(model, names, feed, outputs=loss.values, threads=threads)
        produced = produced_values(found.model)
        activations = tuple(name for name in names if name in produced)
        returned = [produced[name] for name in activations]
        gradients = set(found.gradients.values())
        outputs = found.model.graph.outputs
        outputs[:] = [value for value in outputs if value.name in gradients] + returned
        forward = make_session(model, outputs=loss.values, threads=threads)
        return cls(forward, make_session(found.model, threads=threads), found, activations)

    def run(self, feed: Feed, cotangents: Feed) -> tuple[dict[str, Array], dict[str, Array]]:
        """Returns the gradient by each value, and what those hold that nodes compute."""
        given = {name: cotangents[output] for output, name in self.found.cotangents.items()}
        known = {**feed, **given}
        results = self.backward.run({name: known[name] for name in self.backward.inputs})
        gradients = {name: results[output] for name, output in self.found.gradients.items()}
        return gradients, {name: results[name] for name in self.activations}


@dataclass
class _Sums:
    """Squares added up over the probes.

    Attributes:
        changes: As given.
        costs: Value name → option → Σ ⟨g, Δ⟩².
        traces: Value name → Σ ‖g‖².
        sizes: Value name → elements.
        count: Probes so far.
    """

    changes: Mapping[str, Mapping[Any, Change]]
    costs: dict[str, dict[Any, float]] = field(default_factory=dict)
    traces: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def add(self, gradients: Mapping[str, Array], held: Mapping[str, Array]) -> None:
        """Adds one probe."""
        self.count += 1
        for name, options in self.changes.items():
            gradient = gradients[name]
            self.sizes[name] = gradient.size
            self.traces[name] = self.traces.get(name, 0.0) + _dot(gradient, gradient)
            costs = self.costs.setdefault(name, {})
            for option, change in options.items():
                if isinstance(change, Mapping):
                    along = sum(_dot(gradients[one], moved) for one, moved in change.items())
                else:
                    along = _dot(gradient, change(held[name]) if callable(change) else change)
                costs[option] = costs.get(option, 0.0) + along**2

    def result(self) -> Curvature:
        """Returns the means."""
        if not self.count:
            raise DataError("no sample to estimate sensitivity on; give --data with at least one")
        costs = {
            name: {option: total / (2 * self.count) for option, total in options.items()}
            for name, options in self.costs.items()
        }
        traces = {name: total / self.count for name, total in self.traces.items()}
        return Curvature(costs, traces, self.sizes, self.count)


def _dot(one: Array, other: Array) -> float:
    return float(np.vdot(one.astype(np.float64), other.astype(np.float64)))
