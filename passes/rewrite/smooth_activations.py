"""Activation-aware equalization: the spread of an activation moves into the weights that read it.

An activation gets one scale, so a channel sixty times as wide as the others takes their bits away.
A factor per channel that LayerNormalization, or the layer before, takes up evens them out, at no
cost at run time; how far is decided place by place, by the error that quantization leaves on
samples.

Measured on a vision transformer whose features are even (models/digits_vit): 0.3 to 1.4 dB more at
the output, 0.2 to 1.2 more pictures in 100 classified as by the float model, over four choices of
calibration samples; nothing with minmax calibration, one scale per weight or weights of 4 bits.
With four of 128 features behind each norm sixty times as large, from 22.4 to 33.5 dB and from 96.0
to 98.8 %.
Between convolutions it hurts activations of 8 bits where the plan has scales per channel
(SqueezeNet from 23.0 to 22.0 dB, MobileNetV1 0.25 from 28.0 to 26.8, UltraFace from 46.4 to 45.0,
FastestDet from 23.0 to 19.1). With 4 bits it helps where channels meet in Concat, pooling or Add,
which the plan's scales do not pass: W4A4 with ``mse``, FastestDet from 39.6 to 50.1 % of boxes,
SqueezeNet from 62 to 73 % agreement.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.graph.channel_factors import channel_factors
from onnxq.graph.choices import (
    Choices,
    factors_by_value,
    note_choice,
    numbered_factors,
    storable,
    told_choices,
)
from onnxq.graph.factor_sites import factor_sites
from onnxq.graph.factored_constant import FactoredConstant
from onnxq.graph.feature_factors import feature_factors
from onnxq.graph.linear import LinearLayer, linear_layer
from onnxq.graph.query import shape_of
from onnxq.numerics.migration import Bits, RowReader, migration
from onnxq.pass_options import switch
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from onnxq.graph.channel_factors import ChannelShift, FactoredLayer
    from onnxq.graph.factor_sites import FactorSite
    from onnxq.graph.prior import Prior
    from onnxq.numerics.migration import ChannelRows, Migration
    from onnxq.runtime.survey import Survey

    Array = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

__all__ = ["SmoothActivationsPass"]

# Decibels that a migration has to gain on its readers' error.
_MARGIN = 0.5
# Factors closer to 1 are what rounding left of the same migration, made before.
_ROUNDING = 0.01
_ROWS_PER_SAMPLE = 16
_EIGHT = 8
_EQUALIZER = "equalize-layers"


class _Found(NamedTuple):
    """Factors that a graph leaves free: how many, and what they touch."""

    total: int
    layers: Sequence[FactoredLayer]
    constants: Sequence[FactoredConstant]
    carries: Mapping[ir.Value, Indices]

    @property
    def reads(self) -> list[tuple[str, Indices]]:
        """What layers read, by name, and the number of the factor of each channel."""
        return [(str(item.layer.source.name), item.reads) for item in self.layers]


class SmoothActivationsPass(RewritePass):
    """Divides activations' channels by factors, and multiplies the weights that read them.

    1. A factor goes wherever :mod:`onnxq.graph.feature_factors` lets it on the last axis
       (LayerNormalization, MatMul, Gemm, attention), :mod:`onnxq.graph.channel_factors` on axis 1
       (convolutions); graph inputs and outputs carry none.
    2. A layer whose weight others read as well carries none.
    3. All layers that read the same channels are judged together. The factors are those of
       :mod:`onnxq.numerics.migration`, with the strength of least error on the samples, at the
       bits that the weights will have.
    4. Nothing changes where that error falls by less than :data:`_MARGIN` decibels, where a weight
       would become infinite, or without samples.
    5. Convolutions are treated where activations have fewer than 8 bits, or the option
       ``convolutions`` says so. With 8 bits and weights that have a scale per output channel, the
       scales per channel that the plan gives activations between two convolutions are enough; they
       do the same and come after all else is known.
    6. Channels that linear layers write are left to equalize-layers, which weighs the rows of
       those weights as well, where weights get one scale each or it has treated the model already.

    7. What was chosen is written down in the model (:mod:`onnxq.graph.choices`). Where choices are
       given, these are made, and nothing is judged.

    Source: Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for
    Large Language Models", section 4.

    Args:
        prior: What is known of values, which is multiplied along.
        survey: Calibration samples; None = there are none.
        choices: Those of a model that was made from this one; None = choose.
        per_channel: Whether weights get a scale per output channel.
        bits: Of the codes; None = 8 each.
    """

    name = "smooth-activations"
    options = MappingProxyType({"convolutions": switch()})

    def __init__(
        self,
        prior: Prior | None = None,
        survey: Survey | None = None,
        choices: Choices | None = None,
        *,
        per_channel: bool = True,
        bits: Bits | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.survey = survey
        self.choices = choices
        self.per_channel = per_channel
        self.bits = Bits() if bits is None else bits
        self.convolutions = self.bits.activation < _EIGHT

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Treats features first, then, if asked to, the channels of convolutions."""
        features = feature_factors(model.graph)
        for reason, number in Counter(features.bound.values()).items():
            self.refuse(model.graph.name or "graph", f"{reason}: {number} layers")
        modified = self._smooth(
            model,
            self.name,
            _Found(features.count, features.layers, features.constants, features.carries),
        )
        if self.convolutions or self.choices is not None:
            found = channel_factors(model.graph)
            constants = [_constant(shift) for shift in found.shifts]
            modified |= self._smooth(
                model,
                f"{self.name}/convolutions",
                _Found(found.count, found.layers, constants, found.carries),
            )
        return ir.passes.PassResult(model, modified)

    def _smooth(self, model: ir.Model, kind: str, found: _Found) -> bool:
        """Puts factors into effect that are given, or chosen here and written down."""
        if self.choices is None:
            factors = self._chosen(model, found)
        else:
            factors = numbered_factors(found.reads, self.choices.take(kind), found.total)
            if not self._try_multiply(model.graph.name or "graph", found, factors):
                return False
        chosen = factors_by_value(found.reads, factors)
        if chosen:
            note_choice(model, kind, chosen)
        return bool(chosen)

    def _chosen(self, model: ir.Model, found: _Found) -> Array:
        """Judges all sites on the same samples; returns the factors that are in effect."""
        chosen = np.ones(found.total + 1)
        place = model.graph.name or "graph"
        sites = factor_sites(found.layers, [one.carries for one in found.constants], found.total)
        left = not self.per_channel or _EQUALIZER in Choices(told_choices(model)).passes
        kept = [site for site in sites if not left or not site.writers]
        if len(kept) < len(sites):
            self.refuse(
                place, f"{_EQUALIZER} treats what layers write: {len(sites) - len(kept)} places"
            )
        readers = [item.layer for site in kept for item in site.readers]
        axes = {str(layer.source.name): layer.channel_axis for layer in readers}
        if not axes:
            return chosen
        if self.survey is None:
            self.refuse(place, "there are no samples to tell the channels' ranges")
            return chosen
        rows = self.survey.rows(model, axes, _ROWS_PER_SAMPLE)
        for site in kept:
            best = self._judged(site, rows)
            if best is None:
                continue
            factors = np.ones_like(chosen)
            factors[site.numbers] = storable(1 / best.scales)
            where = site.readers[0].layer.source
            text = (
                f", strength {best.alpha:.1f}: {best.gain:.1f} dB less error in"
                f" {len(site.readers)} layers"
            )
            if self._try_multiply(where, found, factors, text):
                chosen *= factors
        return chosen

    def _judged(self, site: FactorSite, rows: Mapping[str, ChannelRows]) -> Migration | None:
        """Rules 3 and 4: returns what is best for a site, None where that is to change nothing."""
        readers = [
            RowReader(rows[str(layer.source.name)], layer.taps(), site.local(reads))
            for layer, reads, _ in site.readers
        ]
        place = site.readers[0].layer.source
        if not all(len(rows[str(layer.source.name)].rows) for layer, _, _ in site.readers):
            self.refuse(place, "no sample reaches it")
            return None
        best = migration(readers, site.numbers.size, per_channel=self.per_channel, bits=self.bits)
        moves = best is not None and np.abs(np.log(best.scales)).max() > _ROUNDING
        if best is not None and moves and best.gain >= _MARGIN:
            return best
        gain = best.gain if best is not None and moves else 0.0
        self.refuse(
            place, f"its channels are even enough: {gain:.1f} dB to gain, less than {_MARGIN}"
        )
        return None

    def _try_multiply(
        self, place: ir.Value | str, found: _Found, factors: Array, text: str = ""
    ) -> bool:
        """Puts factors into effect; the last one is the 1 of what carries none."""
        moved = factors != 1
        layers = [
            _scaled(item, factors)
            for item in found.layers
            if moved[item.reads].any() or moved[item.writes].any()
        ]
        constants = [
            (one, one.scaled(factors)) for one in found.constants if moved[one.carries].any()
        ]
        if not moved.any():
            return False
        if not all(layer.holds(*arrays) for layer, arrays in layers) or not all(
            one.holds(array) for one, array in constants
        ):
            return self.refuse(place, "a weight would overflow")
        for layer, arrays in layers:
            layer.write(*arrays)
        for one, array in constants:
            one.write(array)
        self._multiply_prior(found, factors)
        far = np.abs(np.log2(factors)).max()
        return self.fired(place, f"{moved.sum()} channels by up to 2^{far:.1f}{text}")

    def _multiply_prior(self, found: _Found, factors: Array) -> None:
        for value, carries in found.carries.items():
            known = self.prior.get(value.name) if self.prior and value.name else None
            if known is not None and self.prior is not None and carries.size == known[0].size:
                by = factors[carries.reshape(-1)]
                mean, deviation = (np.asarray(array * by, np.float32) for array in known)
                self.prior[str(value.name)] = (mean, deviation)


def _scaled(item: FactoredLayer, factors: Array) -> tuple[LinearLayer, tuple[Array, Array | None]]:
    """Returns the layer as it is now, and its weight and bias as they should be."""
    layer = linear_layer(item.layer.node)
    assert isinstance(layer, LinearLayer)
    rows, columns = factors[item.writes], 1 / factors[item.reads]
    weight = layer.with_weight(layer.scaled_outputs(rows)).scaled_inputs(columns)
    return layer, (weight, None if layer.bias is None else layer.bias * rows)


def _constant(shift: ChannelShift) -> FactoredConstant:
    """Returns what is added along axis 1 as what can be multiplied by broadcasting."""
    shape = shape_of(shift.node.outputs[0])
    assert shape is not None
    column = shift.carries.reshape(-1, *[1] * (len(shape) - 2))
    return FactoredConstant(shift.node, shift.position, column)
