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

One sample is in memory at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.numerics.channel_fit import FitSums
from onnxq.numerics.sqnr import SqnrSum
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.channel_fit import ChannelFit
    from onnxq.runtime.matching import MatchedLayer
    from onnxq.runtime.session import Feed

    Values = Mapping[str, npt.NDArray[Any]]
    Fits = Mapping[str, ChannelFit]

__all__ = ["LayerError", "Observer", "channel_fits", "layer_errors", "own_output"]

_GAIN_DB = 6.0
_SOUND_DB = 40.0
_CHANNEL_RANK = 3


@dataclass(frozen=True, slots=True)
class LayerError:
    """What was measured at the end of a layer.

    Attributes:
        whole: SQNR with all layers before it from the second model, in dB.
        own: SQNR with its inputs from the float model, in dB.
        scaled: Whether its channels were scaled back before comparing.
    """

    whole: float
    own: float
    scaled: bool


class Observer:
    """Runs both models on a sample and returns the values at the layers' ends."""

    def __init__(
        self,
        real: ir.Model,
        second: ir.Model,
        layers: Sequence[MatchedLayer],
        *,
        threads: int = 1,
    ) -> None:
        """Prepares both models, without optimizations."""
        names = [layer.value for layer in layers]
        found = [layer.found for layer in layers]
        self._real = make_session(real, optimize=False, threads=threads, outputs=names)
        self._second = make_session(second, optimize=False, threads=threads, outputs=found)

    def wanted(self, feed: Feed) -> dict[str, npt.NDArray[Any]]:
        """Returns the float model's values by its names, its inputs among them."""
        return {**feed, **self._real.run(feed)}

    def found(self, feed: Feed) -> dict[str, npt.NDArray[Any]]:
        """Returns the second model's values by its own names."""
        return self._second.run(feed)


def channel_fits(
    layers: Sequence[MatchedLayer],
    feeds: Iterable[Feed],
    observer: Observer,
    expected: Mapping[str, npt.NDArray[np.float64]],
) -> dict[str, ChannelFit]:
    """Returns value name → factors and offsets of the values that the second model scales.

    Args:
        layers: In graph order.
        feeds: Some samples.
        observer: Of both models.
        expected: Value name → factors that the readers' weights undo.
    """
    sums: dict[str, FitSums] = {}
    plain = {layer.value: SqnrSum() for layer in layers}
    for feed in feeds:
        wanted, found = observer.wanted(feed), observer.found(feed)
        for layer in layers:
            a, b = wanted[layer.value], found[layer.found]
            _add(plain[layer.value], a, b)
            if layer.value in expected and a.shape == b.shape and a.ndim >= _CHANNEL_RANK:
                sums.setdefault(layer.value, FitSums()).add(a, b)
    return _settled(layers, {name: total.decibels for name, total in plain.items()}, sums, expected)


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


def layer_errors(
    layers: Sequence[MatchedLayer],
    feeds: Iterable[Feed],
    observer: Observer,
    fits: Fits,
    *,
    progress: Callable[[int], None] | None = None,
) -> dict[str, LayerError]:
    """Returns value name → errors.

    Args:
        layers: In graph order.
        feeds: The samples.
        observer: Of both models.
        fits: Of the values that the second model scales.
        progress: Called with the number of samples done.
    """
    whole = {layer.value: SqnrSum() for layer in layers}
    own = {layer.value: SqnrSum() for layer in layers}
    for number, feed in enumerate(feeds, 1):
        wanted, found = observer.wanted(feed), observer.found(feed)
        for layer in layers:
            name, target = layer.value, wanted[layer.value]
            _add(whole[name], target, _back(found[layer.found], fits.get(name)))
            _add(own[name], target, own_output(layer, wanted, fits))
        if progress is not None:
            progress(number)
    return {
        name: LayerError(whole[name].decibels, own[name].decibels, name in fits) for name in whole
    }


def own_output(layer: MatchedLayer, wanted: Values, fits: Fits) -> npt.NDArray[Any]:
    """Returns what a layer makes of the float model's values, in the float model's terms."""
    fed = {}
    for name, source in layer.sources.items():
        array, fit = wanted[source], fits.get(source)
        fed[name] = array if fit is None else fit.forward(array)
    return _back(layer.piece.run(fed)[layer.found], fits.get(layer.value))


def _back(found: npt.NDArray[Any], fit: ChannelFit | None) -> npt.NDArray[Any]:
    return found if fit is None else fit.back(found)


def _add(total: SqnrSum, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
    """Adds a sample unless the models disagree on its shape, as where they pick by number."""
    if np.shape(wanted) == np.shape(found):
        total.add(wanted, found)
