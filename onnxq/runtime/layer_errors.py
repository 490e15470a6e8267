"""How much every layer of a model is off against the float model, by itself and with all before it.

With A the float model, B the other one, v the end of a layer:

    whole error of v    SQNR of B's v, with B run whole, against A's v
    own error of v      SQNR of B's piece between v and the ends before it, fed with A's values

B may write a convolution's channels scaled, each by a factor and an offset of its own which the
readers' weights undo (:mod:`onnxq.plan.channels`). Whether it does so for a value cannot be read
off the value: a broken weight scales channels, too. It shows in the readers:

1. A value comes into question if it has channels and a least-squares factor and offset for each
   (:mod:`onnxq.numerics.channel_fit`) gain more than 6 dB.
2. From the last to the first of these, the layers that read the value are fed with A's values as
   they are, and with A's values scaled. The value counts as scaled if the readers come closer to
   A's values, in the form already settled for those, when fed scaled.
3. Scaled values are compared after scaling back, and handed to readers scaled.

One sample is in memory at a time, and two while rule 2 is at work.
"""

from __future__ import annotations

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
_DECIDING_SAMPLES = 2
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
    layers: Sequence[MatchedLayer], feeds: Iterable[Feed], observer: Observer
) -> dict[str, ChannelFit]:
    """Returns value name → factors and offsets of the values that the second model scales.

    Args:
        layers: In graph order.
        feeds: Some samples.
        observer: Of both models.
    """
    sums: dict[str, FitSums] = {}
    kept: list[tuple[Values, Values]] = []
    candidates = [layer for layer in layers if _may_be_scaled(layer, layers)]
    for feed in feeds:
        wanted, found = observer.wanted(feed), observer.found(feed)
        for layer in candidates:
            a, b = wanted[layer.value], found[layer.found]
            if a.ndim >= _CHANNEL_RANK and a.shape == b.shape:
                sums.setdefault(layer.value, FitSums()).add(a, b)
        if len(kept) < _DECIDING_SAMPLES:
            kept.append((wanted, found))
    fits = {name: total.fit() for name, total in sums.items()}
    fits = {
        layer.value: fits[layer.value]
        for layer in candidates
        if layer.value in fits and _gains(layer, fits[layer.value], kept)
    }
    samples = [wanted for wanted, _ in kept]
    for layer in reversed(candidates):
        if layer.value in fits and not _undone(layer, layers, fits, samples):
            del fits[layer.value]
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


def _may_be_scaled(layer: MatchedLayer, layers: Sequence[MatchedLayer]) -> bool:
    """Whether anything after the value could undo the factors."""
    return any(layer.value in other.sources.values() for other in layers)


def _gains(layer: MatchedLayer, fit: ChannelFit, kept: Sequence[tuple[Values, Values]]) -> bool:
    """Rule 1."""
    plain, fitted = SqnrSum(), SqnrSum()
    for real, second in kept:
        wanted, found = real[layer.value], second[layer.found]
        _add(plain, wanted, found)
        _add(fitted, wanted, fit.back(found))
    return fitted.decibels > plain.decibels + _GAIN_DB


def _undone(
    layer: MatchedLayer, layers: Sequence[MatchedLayer], fits: Fits, samples: Sequence[Values]
) -> bool:
    """Rule 2."""
    readers = [other for other in layers if layer.value in other.sources.values()]
    others = {name: fit for name, fit in fits.items() if name != layer.value}
    return _noise(readers, others, samples) > _noise(readers, fits, samples)


def _noise(readers: Sequence[MatchedLayer], fits: Fits, samples: Sequence[Values]) -> float:
    """Returns the sum of the readers' own noise-to-signal ratios."""
    total = 0.0
    for reader in readers:
        ratio = SqnrSum()
        for values in samples:
            _add(ratio, values[reader.value], own_output(reader, values, fits))
        total += ratio.noise / ratio.signal if ratio.signal else 0.0
    return total


def _back(found: npt.NDArray[Any], fit: ChannelFit | None) -> npt.NDArray[Any]:
    return found if fit is None else fit.back(found)


def _add(total: SqnrSum, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
    """Adds a sample unless the models disagree on its shape, as where they pick by number."""
    if np.shape(wanted) == np.shape(found):
        total.add(wanted, found)
