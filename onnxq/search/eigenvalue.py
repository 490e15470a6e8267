"""The largest curvature of the task's loss in each layer, by power iteration.

HAWQ (Dong et al. 2019, section 3.1) ranks layers by λ / n: the top eigenvalue of the loss' Hessian
with respect to the layer's weight, and the weight's size. Here H = Jᵀ S J, as in
:mod:`onnxq.search.sensitivity`. One step of the power iteration, v ← H v / ‖H v‖, takes

    u = J v      the gradient of ⟨Jᵀ d, v⟩ by d: the emitted graph differentiated again
    S u          (∇L(y + ε u) - ∇L(y)) / ε at the outputs, in numpy
    Jᵀ (S u)     the emitted graph

over all batches. Each layer takes iterations of its own, and one direction says little of the
change that rounding makes: this is a method to compare with, not the one to choose by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onnxq.autodiff.vjp import vjp
from onnxq.errors import DataError
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from onnxq.autodiff.vjp import Differentiated
    from onnxq.runtime.session import Feed, Session
    from onnxq.tasks.loss import OutputLoss

    Array = npt.NDArray[np.float64]

__all__ = ["top_eigenvalue"]

# Of the outputs' largest magnitude: small against what the loss sees, large against rounding.
_STEP = 1e-3


def top_eigenvalue(  # noqa: PLR0913 (the last four have defaults and are named at the call)
    model: ir.Model,
    loss: OutputLoss,
    feeds: Sequence[Feed],
    weight: str,
    *,
    iterations: int = 20,
    tolerance: float = 1e-3,
    seed: int = 0,
    threads: int = 1,
) -> float:
    """Returns the largest eigenvalue of the mean loss' curvature by one weight.

    Args:
        model: The float model, normalized.
        loss: Of the task; it must have a second derivative.
        feeds: Batches of one shape.
        weight: Name of the weight.
        iterations: At most so many.
        tolerance: Relative change at which it stops.
        seed: Of the direction to start from.
        threads: Threads inside an operator.

    Raises:
        DataError: There is no batch.
        ModelError: There is no gradient by the weight, or none of the gradient.
    """
    if not feeds:
        raise DataError("no sample to estimate sensitivity on; give --data with at least one")
    curve = _Curve.make(model, loss, weight, feeds[0], threads)
    data = model.graph.initializers[weight].shape
    shape = [dim for dim in data or () if isinstance(dim, int)]
    vector = np.random.default_rng(seed).standard_normal(shape)
    value = 0.0
    for _ in range(iterations):
        vector /= np.linalg.norm(vector)
        image = sum((curve.apply(feed, vector) for feed in feeds), np.zeros(shape)) / len(feeds)
        last, value = value, float(np.vdot(vector, image))
        vector = image
        if not vector.any() or abs(value - last) <= tolerance * abs(value):
            break
    return value


@dataclass(frozen=True)
class _Curve:
    """Products with H.

    Attributes:
        loss: Of the task.
        forward: Returns what the loss looks at.
        first: Takes cotangents too; returns the gradient by the weight.
        second: Takes a direction too; returns J · direction, as gradients by the cotangents.
        back: Names of the inputs and outputs of ``first``.
        ahead: Those of ``second``.
    """

    loss: OutputLoss
    forward: Session
    first: Session
    second: Session
    back: Differentiated
    ahead: Differentiated

    @classmethod
    def make(
        cls, model: ir.Model, loss: OutputLoss, weight: str, feed: Feed, threads: int
    ) -> _Curve:
        """Differentiates the model twice."""
        forward = make_session(model, outputs=loss.values, threads=threads)
        back = vjp(model, [weight], feed, outputs=loss.values, threads=threads)
        outputs = forward.run(feed)
        zeros = {name: np.zeros_like(outputs[of]) for of, name in back.cotangents.items()}
        ahead = vjp(
            back.model,
            list(zeros),
            {**feed, **zeros},
            outputs=list(back.gradients.values()),
            threads=threads,
        )
        first, second = (make_session(found.model, threads=threads) for found in (back, ahead))
        return cls(loss, forward, first, second, back, ahead)

    def apply(self, feed: Feed, vector: Array) -> Array:
        """Returns H · vector on one batch."""
        wanted = self.forward.run(feed)
        pushed = self._push(feed, wanted, vector)
        size = max(float(np.abs(array).max()) for array in pushed.values())
        if size == 0:
            return np.zeros(vector.shape)
        scale = max(float(np.abs(wanted[name]).max()) for name in pushed) or 1.0
        step = _STEP * scale / size
        moved = {name: wanted[name] + step * image for name, image in pushed.items()}
        ahead, here = (self.loss.gradient(wanted, {**wanted, **at}) for at in (moved, {}))
        given = {
            name: np.asarray((ahead[of] - here[of]) / step, np.float32)
            for of, name in self.back.cotangents.items()
        }
        (gradient,) = self.back.gradients.values()
        return _run(self.first, {**feed, **given})[gradient].astype(np.float64)

    def _push(self, feed: Feed, wanted: Feed, vector: Array) -> dict[str, Array]:
        """Returns output name → J · vector."""
        (direction,) = self.ahead.cotangents.values()
        # J · vector does not depend on them: the gradient is linear in the cotangents
        zeros = {name: np.zeros_like(wanted[of]) for of, name in self.back.cotangents.items()}
        known = {**feed, **zeros, direction: vector.astype(np.float32)}
        results = _run(self.second, known)
        return {
            of: results[self.ahead.gradients[name]].astype(np.float64)
            for of, name in self.back.cotangents.items()
        }


def _run(session: Session, known: Feed) -> dict[str, npt.NDArray[Any]]:
    return session.run({name: known[name] for name in session.inputs})
