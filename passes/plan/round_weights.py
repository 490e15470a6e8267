"""Rounds weights of few bits by what comes out of their layers, one layer after the other.

Each layer is rounded for the inputs that the already rounded part of the model delivers, towards
the output that the float model gives: so it makes up for errors in front of it as far as a weight
and a bias can (``onnxq.numerics.rounding``). Second moments of the inputs are all that is needed;
they are taken at some output positions of every sample.

Sources: Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers"; Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization",
section 3, for the layer-wise quadratic form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.on_disk import kept
from onnxq.graph.query import heavy
from onnxq.graph.weight_rows import from_rows, groups_of, to_rows
from onnxq.numerics.rounded import METHODS, Wanted, rounded
from onnxq.pass_options import choice, switch, whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.channels import read_factors
from onnxq.plan.codebooks import takes_levels, with_levels
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.pair_limit import pair_limit
from onnxq.plan.quant_plan import QuantPlan, Use
from onnxq.plan.spec import PerAxis, QParams
from onnxq.runtime.segments import LayerInputs, uncut
from onnxq.search.coded_layer import CodedLayer, coded_layer
from onnxq.search.layer_moments import layer_moments, samples_side_by_side
from onnxq.search.learned_layer import bias_floor, rounding_limits
from onnxq.search.written_layer import layer_floats, takes_bias, write_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.rounded import Rounded
    from onnxq.numerics.second_moments import SecondMoments
    from onnxq.runtime.session import Feed

__all__ = ["RoundWeights"]

_NEAREST = "nearest"
_FEW_BITS = 8


@dataclass(frozen=True)
class RoundWeights(PlanPass):
    """Fills codes, scales and bias shifts of layers whose weights have few bits.

    1. A layer is rounded if its weight has fewer than 8 bits and scales per channel or one scale,
       no other layer reads the weight, and no channels of its input are quantized apart. With 8
       bits it is rounded if it reads fewer, or a layer before it in the graph has or reads fewer:
       it makes up for what they cost. Layers that compute in float with a stored weight are
       rounded as those on integers, and in 8 bits wherever they are: nothing else is off there.
    2. A bias, where the layer has one or can have one, makes up for the difference of the means.
    3. On integers, no scale is so small that the bias would leave int32, and no code so large that
       two of them would saturate where products are added in 16 bits.
    4. Codes of few bits, where they are stored packed, come from a codebook where that saves a
       tenth of the error (``onnxq.numerics.codebook``): kernels multiply its levels, of 8 bits.
    5. Where a layer multiplies activations of fewer than 8 bits, outputs are to vary as much as in
       the float model, and not as little as is nearest to it (``onnxq.numerics.rounded.Wanted``).
       Errors of weights alone take too little away for that to matter.

    Attributes:
        lower: Makes the quantized model of a plan, with node names kept.
        method: How to round: "gptq+cd", "gptq", "adaround", or "nearest", which leaves all as it
            is.
        samples: How many calibration samples to run; None = as many as memory should hold of both
            models' values between layers (:mod:`onnxq.search.layer_moments`).
        codebook: Whether rule 4 holds; not with the method "adaround".
    """

    name = "round-weights"
    options = MappingProxyType(
        {
            "method": choice(*METHODS, _NEAREST),
            "samples": whole("a whole number, 1 or more", lambda count: count >= 1),
            "codebook": switch(),
        }
    )
    after = frozenset({"fit-activations", "fit-weights", "split-outliers", "keep-signal"})

    lower: Callable[[ir.Model, QuantPlan], ir.Model]
    method: str = "gptq+cd"
    samples: int | None = None
    codebook: bool = True

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the codes; runs both models once over the samples."""
        layers, refusals = _layers(context.model, plan) if self.method != _NEAREST else ({}, [])
        plan = plan.with_notes(refusals) if refusals else plan
        if not layers:
            return plan
        if (reason := uncut(context.model)) is not None:
            return plan.with_notes([Note(NoteKind.REFUSED, self.name, "graph", reason)])
        count = self.samples or samples_side_by_side(context.model, layers, context.shapes)
        feeds = [(feed, feed) for feed in context.samples(count)]
        models = context.model, self.lower(context.model, plan)
        return self.round_layers(context, plan, models, layers, feeds)

    def round_layers(
        self,
        context: PlanContext,
        plan: QuantPlan,
        models: tuple[ir.Model, ir.Model],
        layers: Mapping[str, CodedLayer],
        feeds: Sequence[tuple[Feed, Feed]],
    ) -> QuantPlan:
        """Returns ``plan`` with the codes of some layers.

        Args:
            context: Target and threads.
            plan: With the specs of the layers' weights.
            models: The float and the quantized model, or the same part of both. The latter gets
                the codes, as floats.
            layers: Name → layer, of those in the models.
            feeds: What either model reads: one pair of feeds for each sample.
        """
        runs = (
            LayerInputs(model, layers, samples, threads=context.threads)
            for model, samples in zip(models, zip(*feeds, strict=True), strict=True)
        )
        narrow = any(heavy(node) and _few_bits(node, plan, 0) for node in context.model.graph)
        for number, ((node, reals), (copy, codes)) in enumerate(zip(*runs, strict=True)):
            layer = layers[str(node.name)]
            moments = layer_moments(layer, reals, codes, number, outputs=narrow)
            better = self._round(layer, moments, plan, context)
            plan = _with(plan, layer, better, moments, self.method)
            write_layer(copy, layer_floats(layer, plan))
            gain = 10 * math.log10(max(better.before, 1e-30) / max(better.after, 1e-30))
            text = f"error {gain:.1f} dB below that of the nearest codes"
            text += "" if better.levels is None else f"; codebook of {better.levels.size} levels"
            plan = plan.with_notes([Note(NoteKind.FIRED, self.name, str(node.name), text)])
        return plan

    def _round(
        self, layer: CodedLayer, moments: SecondMoments, plan: QuantPlan, context: PlanContext
    ) -> Rounded:
        node, spec, target = layer.node, layer.plan.spec, context.target
        opset = context.model.graph.opset_imports[""]
        x = layer.read_by(plan)
        factors = read_factors(node, x)
        anchor = layer.weight if factors is None else layer.weight * factors
        least: npt.NDArray[np.float32] | float = 0.0
        floor = bias_floor(node, x)
        if floor is not None:
            least = floor.reshape(groups_of(node), -1, 1) if spec.axis is not None else floor.max()
        rows, anchors = to_rows(node, layer.weight), to_rows(node, anchor)
        return rounded(
            Wanted.of(rows, anchors, moments, centred=takes_bias(node)),
            rounding_limits(spec, None if layer.real else pair_limit(node, target)),
            per_row=isinstance(spec.granularity, PerAxis),
            least_scale=least,
            method=self.method,
            codebook=self.codebook and takes_levels(spec, target, opset),
        )


def _layers(model: ir.Model, plan: QuantPlan) -> tuple[dict[str, CodedLayer], list[Note]]:
    """Rule 1: returns the layers to round by name, and why others of few bits are not."""
    layers, refusals, behind = {}, [], False
    for node in model.graph:
        few = _few_bits(node, plan, 1)
        behind = behind or (heavy(node) and _few_bits(node, plan, 0))
        real = str(node.name) in plan.float_nodes
        found = coded_layer(node, plan) if few or behind or real else None
        if isinstance(found, CodedLayer):
            behind = behind or few
            layers[str(node.name)] = found
        elif found is not None and few:
            refusals.append(Note(NoteKind.REFUSED, RoundWeights.name, str(node.name), found))
    return layers, refusals


def _few_bits(node: ir.Node, plan: QuantPlan, position: int) -> bool:
    value = node.inputs[position] if len(node.inputs) > position else None
    planned = None if value is None else plan.of(str(value.name), Use(str(node.name), position))
    return planned is not None and planned.spec.dtype.bits < _FEW_BITS


def _with(
    plan: QuantPlan, layer: CodedLayer, found: Rounded, moments: SecondMoments, method: str
) -> QuantPlan:
    """Returns ``plan`` with the layer's codes and, by rule 2, its bias shift."""
    node = layer.node
    codes = from_rows(node, found.codes, layer.weight.shape)
    scale = found.scale.reshape(-1) if layer.plan.spec.axis is not None else found.scale.max()
    params = QParams(np.asarray(scale, np.float32), np.zeros(np.shape(scale), np.int32), method)
    planned = replace(layer.plan, params=params, codes=kept(codes))
    if found.levels is not None:
        planned = with_levels(planned, found.levels)
    plan = layer.with_weight(plan, planned)
    if not takes_bias(node):
        return plan
    x, x_hat = moments.means
    rows = to_rows(node, layer.weight).astype(np.float64)
    shift = rows @ x[:, :, np.newaxis] - (found.codes * found.scale) @ x_hat[:, :, np.newaxis]
    shifts = {**plan.bias_shift, str(node.name): shift.reshape(-1).astype(np.float32)}
    return replace(plan, bias_shift=shifts)
