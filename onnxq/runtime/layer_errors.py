"""How much every layer of a model is off against the float model, by itself and with all before it.

With A the float model, B the other one, v the end of a layer:

    whole error of v    SQNR of B's v, with B run whole, against A's v
    own error of v      SQNR of B's piece between v and the ends before it, fed with A's values

B may write a convolution's channels scaled, each by a factor and an offset of its own which the
readers' weights undo (:mod:`onnxq.plan.channels`). Two witnesses tell the factors: the value by
least squares (:mod:`onnxq.numerics.channel_fit`), unless its layer or one before is broken; and the
weights of its readers (:mod:`onnxq.runtime.reader_factors`), unless a reader is broken. So:

1. Only a value whose readers' weights undo factors is scaled.
2. A layer is in doubt if the fitted SQNR of its end is more than 6 dB below that of its inputs (or
   below 34 dB behind exact inputs), or if a layer before it is in doubt.
3. In doubt, factors come from the readers' weights; else from the value, if they gain 6 dB.
4. Scaled values are compared after scaling back, and handed to readers scaled.

Two samples are in memory at a time: the next one runs while one is added up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxq.numerics.channel_fit import FitSums
from onnxq.numerics.sqnr import SqnrSum
from onnxq.runtime.ahead import ahead
from onnxq.runtime.pieces import Pieces
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.channel_fit import ChannelFit
    from onnxq.runtime.matching import MatchedLayer
    from onnxq.runtime.session import Feed

    Values = Mapping[str, npt.NDArray[Any]]

__all__ = ["Observer", "OwnOutputs", "WholeError", "own_errors", "whole_errors"]

_GAIN_DB = 6.0
_SOUND_DB = 40.0
_CHANNEL_RANK = 3


class WholeError(NamedTuple):
    """What was measured at the end of a layer with the second model run whole.

    Attributes:
        decibels: SQNR of the value, scaled back where it is scaled.
        fit: Factors and offsets by which the second model scales it; None = it does not.
    """

    decibels: float
    fit: ChannelFit | None


class Observer:
    """Runs both models on a sample; returns their outputs and the values at the layers' ends."""

    def __init__(
        self,
        real: ir.Model,
        second: ir.Model,
        layers: Sequence[MatchedLayer],
        *,
        threads: int = 1,
    ) -> None:
        """Prepares both models, without optimizations."""
        names = [layer.value for layer in layers] + _outputs(real)
        found = [layer.found for layer in layers] + _outputs(second)
        self._real, self._second = (
            make_session(model, optimize=False, threads=threads, outputs=outputs, spin=False)
            for model, outputs in ((real, names), (second, found))
        )

    def wanted(self, feed: Feed) -> dict[str, npt.NDArray[Any]]:
        """Returns the float model's values by its names, its inputs among them."""
        return {**feed, **self._real.run(feed)}

    def found(self, feed: Feed) -> dict[str, npt.NDArray[Any]]:
        """Returns the second model's values by its own names."""
        return self._second.run(feed)


def _outputs(model: ir.Model) -> list[str]:
    return [str(value.name) for value in model.graph.outputs]


def whole_errors(
    layers: Sequence[MatchedLayer],
    feeds: Iterable[Feed],
    observer: Observer,
    expected: Mapping[str, npt.NDArray[np.float64]],
    *,
    progress: Callable[[int], None] | None = None,
) -> dict[str, WholeError]:
    """Runs the second model whole and returns value name → error and scaling.

    Args:
        layers: In graph order.
        feeds: The samples.
        observer: Of both models.
        expected: Value name → factors that the readers' weights undo.
        progress: Called with the number of samples done.
    """
    sums: dict[str, FitSums] = {}
    plain = {layer.value: SqnrSum() for layer in layers}
    both = ahead(
        lambda feed: (observer.wanted(feed), observer.found(feed)), feeds, progress=progress
    )
    for wanted, found in both:
        for layer in layers:
            a, b = wanted[layer.value], found[layer.found]
            _add(plain[layer.value], a, b)
            if layer.value in expected and a.shape == b.shape and a.ndim >= _CHANNEL_RANK:
                sums.setdefault(layer.value, FitSums()).add(a, b)
    levels = {name: total.decibels for name, total in plain.items()}
    fits = _settled(layers, levels, sums, expected)
    return {
        name: WholeError(level, None)
        if name not in fits
        else WholeError(sums[name].decibels(fits[name]), fits[name])
        for name, level in levels.items()
    }


def _settled(
    layers: Sequence[MatchedLayer],
    plain: Mapping[str, float],
    sums: Mapping[str, FitSums],
    expected: Mapping[str, npt.NDArray[np.float64]],
) -> dict[str, ChannelFit]:
    """Rules 2 and 3, from the first layer to the last; ``plain`` is SQNR without a fit."""
    fits: dict[str, ChannelFit] = {}
    levels: dict[str, float] = {}
    doubtful: set[str] = set()
    for layer in layers:
        name, before = layer.value, [levels.get(s, math.inf) for s in layer.sources.values()]
        level = plain[name]
        fit = sums[name].fit() if name in sums else None
        fitted = level if fit is None else sums[name].decibels(fit)
        levels[name] = max(level, fitted)
        limit = min([*before, _SOUND_DB]) - _GAIN_DB
        if levels[name] < limit or not doubtful.isdisjoint(layer.sources.values()):
            doubtful.add(name)
        if fit is None:
            continue
        if name in doubtful:
            fits[name] = sums[name].fit(expected[name])
        elif fitted > level + _GAIN_DB:
            fits[name] = fit
    return fits


class OwnOutputs:
    """What layers make of the float model's values, each by itself, in the float model's terms."""

    def __init__(
        self,
        layers: Sequence[MatchedLayer],
        errors: Mapping[str, WholeError],
        *,
        threads: int = 1,
    ) -> None:
        """Prepares the layers' pieces, to run in one session.

        Args:
            layers: The layers.
            errors: Those of all layers of the models: they tell what the second model scales.
            threads: Threads inside an operator.
        """
        self._layers, self._errors = layers, errors
        self._pieces = Pieces([layer.piece for layer in layers], threads=threads)

    def run(self, wanted: Values) -> dict[str, npt.NDArray[Any]]:
        """Returns value name → what the second model's layer makes of the float model's values."""
        fed = {}
        for layer in self._layers:
            for name, source in layer.sources.items():
                if name not in fed:
                    fit = self._fit(source)
                    fed[name] = wanted[source] if fit is None else fit.forward(wanted[source])
        outputs = {}
        for layer, made in zip(self._layers, self._pieces.run(fed), strict=True):
            fit, array = self._fit(layer.value), made[layer.found]
            outputs[layer.value] = array if fit is None else fit.back(array)
        return outputs

    def beside(self, observer: Observer) -> Callable[[Feed], tuple[Values, Values]]:
        """Returns sample → the float model's values, and what the layers make of them."""

        def run(feed: Feed) -> tuple[Values, Values]:
            wanted = observer.wanted(feed)
            return wanted, self.run(wanted)

        return run

    def _fit(self, value: str) -> ChannelFit | None:
        error = self._errors.get(value)
        return None if error is None else error.fit


def own_errors(
    layers: Sequence[MatchedLayer],
    feeds: Iterable[Feed],
    observer: Observer,
    own: OwnOutputs,
    *,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Returns value name → SQNR of what its layer makes of the float model's values, in dB.

    Args:
        layers: In graph order.
        feeds: The samples.
        observer: Of both models.
        own: Of the same layers.
        progress: Called with the number of samples done.
    """
    sums = {layer.value: SqnrSum() for layer in layers}
    for wanted, made in ahead(own.beside(observer), feeds, progress=progress):
        for name, found in made.items():
            _add(sums[name], wanted[name], found)
    return {name: total.decibels for name, total in sums.items()}


def _add(total: SqnrSum, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
    """Adds a sample unless the models disagree on its shape, as where they pick by number."""
    if np.shape(wanted) == np.shape(found):
        total.add(wanted, found)
