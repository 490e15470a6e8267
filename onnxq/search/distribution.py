"""Samples that a model sees more like its training data: PD-Quant's distribution correction.

A few samples do not have the moments that BatchNormalization saw in training. With μ̂, σ̂ its
moments of the channels c of values v (``onnxq.graph.prior``) and μ, σ those of the samples x,

    L = mean over v, c of ((μ - μ̂) / σ̂)² + (σ / σ̂ - 1)²  +  PULL · mean (x - x₀)² / var x₀

is lowered by steps of Adam (Kingma and Ba 2015) on all samples at once, from x₀ = x on.

Source: Liu et al. 2023, "PD-Quant: Post-Training Quantization Based on Prediction Difference
Metric". Theirs corrects the inputs of one block after the other, each by the moments
behind it. Here the model's own inputs are corrected, by all moments at once: one set of samples
serves the whole model, and its float outputs are what quantized ones are compared with. Moments are
measured in units of σ̂, so that no layer's units count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxq.autodiff.vjp import vjp
from onnxq.runtime.expose import produced_values
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir

    from onnxq.autodiff.vjp import Differentiated
    from onnxq.graph.prior import Prior
    from onnxq.runtime.session import Feed, Session

__all__ = ["Correction", "correct_distribution"]

Array: TypeAlias = npt.NDArray[Any]

_STEPS = 20
# Of the standard deviation of an input; the steps reach a few tenths of it together.
_RATE = 0.02
_PULL = 0.02
_DECAYS = (0.9, 0.999)
# Of the greatest deviation of a value's channels: one without any says nothing of scale.
_LEAST_DEVIATION = 0.01


class Correction(NamedTuple):
    """What came of it.

    Attributes:
        feeds: The corrected samples, in their order.
        before: First term of L for the samples as they were.
        after: The same for the corrected ones.
        values: Number of values whose moments were known.
    """

    feeds: list[Feed]
    before: float
    after: float
    values: int


def correct_distribution(
    model: ir.Model, prior: Prior, feeds: Sequence[Feed], *, steps: int = _STEPS, threads: int = 1
) -> Correction | None:
    """Returns samples near ``feeds`` whose moments in the model come nearer to ``prior``.

    Args:
        model: The float model, normalized.
        prior: Value name → mean and deviation of its channels, axis 1.
        feeds: Samples of one shape.
        steps: Of Adam.
        threads: Threads inside an operator.

    Returns:
        None where the samples have several shapes, where no moments are known, or where they do not
        depend on an input of floats.

    Raises:
        ModelError: There is no gradient by an input.
    """
    values = [name for name in produced_values(model) if name in prior]
    inputs = [name for name, array in feeds[0].items() if array.dtype == np.float32]
    shapes = {tuple((name, array.shape) for name, array in feed.items()) for feed in feeds}
    if not values or not inputs or len(shapes) > 1:
        return None
    slopes = _Slopes.make(model, values, inputs, feeds[0], threads)
    start = [{name: feed[name].astype(np.float64) for name in inputs} for feed in feeds]
    now = [{name: array.copy() for name, array in sample.items()} for sample in start]
    spread = {name: float(np.std([sample[name] for sample in start])) or 1.0 for name in inputs}
    adam = _Adam({name: _RATE * spread[name] for name in inputs})
    losses = []
    for step in range(steps + 1):
        given = [_fed(feed, sample) for feed, sample in zip(feeds, now, strict=True)]
        moments = [_Moments.of(known, found) for known, found in slopes.moments(given, prior)]
        losses.append(float(np.mean([one.loss() for one in moments])))
        for at, feed in enumerate(given) if step < steps else ():
            gradients = slopes.gradients(feed, moments)
            for name in inputs:
                away = (now[at][name] - start[at][name]) / (spread[name] ** 2 * len(feeds))
                gradient = gradients[name] + 2 * _PULL * away / away.size
                now[at][name] -= adam.move((at, name), step, gradient)
    return Correction(given, losses[0], losses[-1], len(values))


def _fed(feed: Feed, sample: Mapping[str, Array]) -> Feed:
    return {**feed, **{name: array.astype(np.float32) for name, array in sample.items()}}


@dataclass(frozen=True)
class _Moments:
    """Moments of a value's channels, float64 [C] each, as wanted and as they are.

    Attributes:
        mean: μ.
        deviation: σ.
        wanted_mean: μ̂.
        wanted_deviation: σ̂.
        count: Elements of a channel, in all samples.
    """

    mean: Array
    deviation: Array
    wanted_mean: Array
    wanted_deviation: Array
    count: int

    @classmethod
    def of(cls, wanted: tuple[Array, Array], sums: _Sums) -> Self:
        mean = sums.total / sums.count
        deviation = np.sqrt(np.maximum(sums.squares / sums.count - mean**2, 1e-12))
        spread = wanted[1].astype(np.float64)
        floor = max(_LEAST_DEVIATION * float(spread.max(initial=0.0)), 1e-6)
        return cls(mean, deviation, wanted[0], np.maximum(spread, floor), sums.count)

    def loss(self) -> float:
        """Returns what the value adds to L."""
        off = (self.mean - self.wanted_mean) / self.wanted_deviation
        wide = self.deviation / self.wanted_deviation - 1
        return float((off**2 + wide**2).mean())

    def slope(self, array: Array, values: int) -> npt.NDArray[np.float32]:
        """Returns the derivative of L by what one sample holds of the value."""
        share = 2 / (self.count * self.mean.size * values)
        by_mean = share * (self.mean - self.wanted_mean) / self.wanted_deviation**2
        wide = self.deviation / self.wanted_deviation - 1
        by_deviation = share * wide / (self.wanted_deviation * self.deviation)
        along = (1, -1, *[1] * (array.ndim - 2))
        centred = array - self.mean.reshape(along)
        slope = by_mean.reshape(along) + by_deviation.reshape(along) * centred
        return np.asarray(slope, np.float32)


@dataclass
class _Sums:
    """Sums over samples, of a value's channels.

    Attributes:
        total: Σ v, float64 [C].
        squares: Σ v², float64 [C].
        count: Elements of a channel.
    """

    total: Array
    squares: Array
    count: int = 0

    def add(self, array: Array) -> None:
        """Adds what one sample holds."""
        others = tuple(axis for axis in range(array.ndim) if axis != 1)
        self.total = self.total + array.sum(axis=others, dtype=np.float64)
        self.squares = self.squares + np.square(array, dtype=np.float64).sum(axis=others)
        self.count += array.size // array.shape[1]


@dataclass(frozen=True)
class _Slopes:
    """The sessions: what values hold, and gradients by the inputs.

    Attributes:
        values: Names of the values.
        forward: Returns them.
        backward: Returns gradients.
        found: Names of its inputs and outputs.
    """

    values: list[str]
    forward: Session
    backward: Session
    found: Differentiated

    @classmethod
    def make(
        cls, model: ir.Model, values: list[str], inputs: list[str], feed: Feed, threads: int
    ) -> Self:
        """Differentiates the model for the shapes of ``feed``."""
        found = vjp(model, inputs, feed, outputs=values, threads=threads)
        wanted = set(found.gradients.values())
        outputs = found.model.graph.outputs
        outputs[:] = [value for value in outputs if value.name in wanted]
        forward = make_session(model, outputs=values, threads=threads)
        return cls(values, forward, make_session(found.model, threads=threads), found)

    def moments(
        self, feeds: Sequence[Feed], prior: Prior
    ) -> list[tuple[tuple[Array, Array], _Sums]]:
        """Returns for each value what is known of it and what the samples show."""
        sums = [_Sums(np.zeros(prior[n][0].size), np.zeros(prior[n][0].size)) for n in self.values]
        for feed in feeds:
            held = self.forward.run(feed)
            for name, one in zip(self.values, sums, strict=True):
                one.add(held[name])
        return [(prior[name], one) for name, one in zip(self.values, sums, strict=True)]

    def gradients(self, feed: Feed, moments: Sequence[_Moments]) -> Mapping[str, Array]:
        """Returns dL/dx of one sample, without the pull."""
        held = self.forward.run(feed)
        known = dict(feed)
        for name, one in zip(self.values, moments, strict=True):
            if name in self.found.cotangents:
                known[self.found.cotangents[name]] = one.slope(held[name], len(moments))
        results = self.backward.run({name: known[name] for name in self.backward.inputs})
        return {name: results[output] for name, output in self.found.gradients.items()}


class _Adam:
    """Adam's moves.

    Args:
        rates: Length of a move, by name.
    """

    def __init__(self, rates: Mapping[str, float]) -> None:
        self._rates = rates
        self._first: dict[tuple[int, str], Array] = {}
        self._second: dict[tuple[int, str], Array] = {}

    def move(self, key: tuple[int, str], step: int, gradient: Array) -> Array:
        """Returns what to subtract from the array ``key`` = (sample, name); steps start at 0."""
        b1, b2 = _DECAYS
        self._first[key] = b1 * self._first.get(key, 0.0) + (1 - b1) * gradient
        self._second[key] = b2 * self._second.get(key, 0.0) + (1 - b2) * gradient**2
        first = self._first[key] / (1 - b1 ** (step + 1))
        second = self._second[key] / (1 - b2 ** (step + 1))
        return np.asarray(self._rates[key[1]] * first / (np.sqrt(second) + 1e-12))
