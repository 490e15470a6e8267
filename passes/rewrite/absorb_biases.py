"""High biases are absorbed: what a channel never falls below is taken off it, and put back behind.

With pre-activations y = W1 x + b1 that stay above c > 0, a rectifier f leaves them alone, so::

    W2 f(y) + b2  =  W2 f(y - c) + (b2 + W2 c)

The channel's range becomes shorter by c, which matters where it is the longest of its value. The
paper takes c = mean - 3 · standard deviation and accepts that some numbers fall below. Here c also
leaves twice the way from the mean to the least number of the samples, so that others than these
come out the same, too: UltraFace departs by 119 dB on pictures that are not among the samples,
which is rounding, instead of 80 dB with the way alone; MobileNetV1 0.25 by 48 dB then.

It fires rarely. Of seven networks it finds channels in one (UltraFace, 54 of 3744), where the int8
result stays what it was (46.5 dB). So it runs on request alone.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.1.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.graph.channel_shifts import channel_shifts
from onnxq.graph.choices import note_choice
from onnxq.graph.clips import bounded_clip, clip_reach, comes_near
from onnxq.graph.homogeneous import is_homogeneous
from onnxq.graph.linear import LinearLayer, linear_layer
from onnxq.graph.query import is_op, only_use, shape_of
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from onnxq.graph.channel_shifts import ChannelShifts
    from onnxq.graph.choices import Choices
    from onnxq.graph.prior import Prior
    from onnxq.numerics.moments import Moments
    from onnxq.runtime.survey import Survey

    Array = npt.NDArray[np.float64]

__all__ = ["AbsorbBiasesPass"]

# A channel is expected to stay within so many standard deviations of its mean, and to go at most
# so many times as far from it as the samples show.
_DEVIATIONS, _FURTHER = 3.0, 2.0
# Float32 sums tell deviations down to 3e-4 of the mean: below this part, a channel is constant.
_CONSTANT = 0.01
# The least part of the range that is worth it: some two steps of 8 bit.
_LEAST = 0.01
# What is a smaller part of the bias is what rounding left of the same shift, done before.
_ROUNDING = 1e-5


class _Site(NamedTuple):
    """A rectifier behind a linear layer."""

    layer: LinearLayer
    node: ir.Node

    @property
    def output(self) -> ir.Value:
        return self.node.outputs[0]


class AbsorbBiasesPass(RewritePass):
    """Moves what a channel never falls below from one linear layer's bias into the next one's.

    1. A site is a linear layer and a Relu, LeakyRelu, PRelu, or Clip with a lower bound of at most
       0, which alone reads it. The layer's weight is its own, and a MatMul has rank 2.
    2. All that reads the channel behind it is a linear layer that can make up for it
       (:mod:`onnxq.graph.channel_shifts`): without padding, with a weight of its own; pooling that
       counts no zeros, Concat, Split, Flatten and other moves of numbers may stand in between.
       No graph output holds it.
    3. What is taken off leaves twice the way from the mean to the least that the samples show, and
       3 standard deviations, of the samples and as recorded by BatchNormalization. Without samples
       nothing is taken off, nor of channels that hardly vary: of their deviation only rounding is
       left.
    4. It is more than 1 percent of the greatest number that is left in the value, and more than
       rounding of the channel's bias.
    5. Channels that come near the upper bound of a Clip stay as they are.
    6. Nothing changes where a bias would become infinite.
    7. What was taken off is written down in the model (:mod:`onnxq.graph.choices`). Where choices
       are given, these amounts are taken off.

    Args:
        prior: What is known of values; means move along.
        survey: Calibration samples; None = there are none.
        choices: Those of a model that was made from this one; None = choose.
    """

    name = "absorb-biases"
    on_request = True

    def __init__(
        self,
        prior: Prior | None = None,
        survey: Survey | None = None,
        choices: Choices | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.survey = survey
        self.choices = choices

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Treats all sites of the main graph at once."""
        sites = [site for node in model.graph if (site := self._site(node)) is not None]
        if not sites:
            return ir.passes.PassResult(model, modified=False)
        shifts = channel_shifts(model.graph, [site.output for site in sites])
        taken = self._taken(model, sites, shifts)
        modified = bool(taken) and self._try_absorb(taken, shifts)
        if modified:
            chosen = {str(site.output.name): amounts for site, amounts in taken.items()}
            note_choice(model, self.name, chosen)
        return ir.passes.PassResult(model, modified)

    def _taken(
        self, model: ir.Model, sites: Sequence[_Site], shifts: ChannelShifts
    ) -> dict[_Site, Array]:
        """Returns what is to be taken off where, by given choices or by the samples."""
        if self.choices is not None:
            chosen = self.choices.take(self.name)
            given = {site: chosen.get(str(site.output.name)) for site in sites}
            return {
                site: amounts
                for site, amounts in given.items()
                if amounts is not None and amounts.shape == shifts.numbers[site.output].shape
            }
        if self.survey is None:
            self.refuse(model.graph.name or "graph", "there are no samples to decide by")
            return {}
        open_sites = [site for site in sites if self._is_open(site, shifts)]
        seen = self.survey.channels(model, [site.layer.target for site in open_sites])
        return {
            site: amounts
            for site in open_sites
            if (amounts := self._amounts(site, seen, shifts)) is not None
        }

    def _site(self, node: ir.Node) -> _Site | None:
        """Rule 1."""
        x = node.inputs[0] if _rectifies(node) else None
        producer = None if x is None else x.producer()
        layer = None if producer is None else linear_layer(producer)
        if x is None or not isinstance(layer, LinearLayer):
            return None
        reason = None
        shape = shape_of(x)
        if only_use(x) is None:
            reason = "others read it too, or it is a graph output"
        elif len(layer.node.inputs[1].uses()) > 1:  # type: ignore[union-attr]  # it has a weight
            reason = "its weight is shared"
        elif layer.kind in ("Gemm", "MatMul") and layer.rank != 2:
            reason = "its input is not known to have rank 2"
        elif shape is None or len(shape) < 2 or shape[1] != layer.out_channels:
            reason = "the shape of what it computes is not known"
        if reason is not None:
            self.refuse(layer.node, reason)
            return None
        return _Site(layer, node)

    def _is_open(self, site: _Site, shifts: ChannelShifts) -> bool:
        """Rule 2."""
        reasons = _reasons(site, shifts)
        blocked = [reason for reason in reasons if reason is not None]
        if len(blocked) < len(reasons):
            return True
        return self.refuse(site.layer.node, blocked[0])

    def _amounts(
        self, site: _Site, seen: Mapping[ir.Value, Moments], shifts: ChannelShifts
    ) -> Array | None:
        """Rules 3 to 5: returns what to take off each channel; None for nothing."""
        moments = seen.get(site.layer.target)
        if moments is None:
            return None
        amounts = self._spare(site, moments)
        for channel, reason in enumerate(_reasons(site, shifts)):
            if reason is not None and amounts[channel]:
                amounts[channel] = 0.0
                self.refuse(site.layer.node, f"channel {channel}: {reason}")
        amounts[amounts <= _LEAST * (moments.maximum - amounts).max()] = 0.0
        if amounts.any():
            return amounts
        self.refuse(site.layer.node, "no channel stays far enough above 0")
        return None

    def _spare(self, site: _Site, moments: Moments) -> Array:
        """Rules 3 and 5: returns what each channel does not fall below, where that is positive."""
        away = np.maximum(_FURTHER * (moments.mean - moments.minimum), _DEVIATIONS * moments.std)
        amounts = np.asarray(moments.mean - away)
        spread = moments.maximum - moments.minimum
        amounts[spread <= _CONSTANT * moments.magnitude] = 0.0
        name = str(site.layer.target.name)
        if self.prior and name in self.prior:
            mean, deviation = self.prior[name]
            amounts = np.minimum(amounts, mean - _DEVIATIONS * deviation)
        amounts[amounts <= _ROUNDING * np.abs(_bias(site.layer))] = 0.0
        bounds = bounded_clip(site.node)
        if bounds is not None:
            amounts[comes_near(clip_reach(bounds, moments.minimum, moments.maximum))] = 0.0
        return amounts

    def _try_absorb(self, taken: Mapping[_Site, Array], shifts: ChannelShifts) -> bool:
        """Rule 6: shifts the biases on both sides."""
        table = np.zeros(1 + sum(numbers.size for numbers in shifts.numbers.values()))
        added: dict[ir.Node, Array] = {}
        layers: dict[ir.Node, LinearLayer] = {}
        for site, amounts in taken.items():
            table[shifts.numbers[site.output]] = amounts
            layers[site.layer.node], added[site.layer.node] = site.layer, -amounts
        for reader in shifts.readers:
            if (amounts := table[reader.reads]).any():
                node = reader.layer.node
                layers[node] = reader.layer
                added[node] = added.get(node, 0.0) + reader.layer.response(amounts)
        biases = {n: added[n] + _bias(layer) for n, layer in layers.items()}
        for node, layer in layers.items():
            if not layer.holds(layer.weight, biases[node]):
                return self.refuse(node, "its bias would overflow")
        for node, layer in layers.items():
            layer.write(layer.weight, biases[node])
        return self._told(taken)

    def _told(self, taken: Mapping[_Site, Array]) -> bool:
        for site, amounts in taken.items():
            target = site.layer.target
            known = self.prior.get(str(target.name)) if self.prior else None
            if known is not None and self.prior is not None:
                mean = np.asarray(known[0] - amounts, np.float32)
                self.prior[str(target.name)] = (mean, known[1])
            count = np.count_nonzero(amounts)
            self.fired(site.layer.node, f"{count} channels, by up to {amounts.max():.3g}")
        return True


def _reasons(site: _Site, shifts: ChannelShifts) -> list[str | None]:
    """Returns for each channel why nothing can be taken off it, None if it can."""
    return [shifts.blocked.get(int(number)) for number in shifts.numbers[site.output]]


def _bias(layer: LinearLayer) -> Array:
    return np.zeros(layer.out_channels) if layer.bias is None else layer.bias


def _rectifies(node: ir.Node) -> bool:
    """Says whether ``node`` leaves positive numbers alone, but for the upper bound of a Clip."""
    if is_op(node, "Clip"):
        return bounded_clip(node) is not None or is_homogeneous(node)
    return is_op(node, "Relu", "LeakyRelu", "PRelu")
