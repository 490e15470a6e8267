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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxq.graph.edit import replace_weight
from onnxq.graph.on_disk import kept
from onnxq.graph.query import weight_of
from onnxq.graph.weight_rows import from_rows, groups_of, to_rows
from onnxq.graph.window import Window, window_of
from onnxq.numerics.patches import patches
from onnxq.numerics.rounded import METHODS, rounded
from onnxq.numerics.second_moments import SecondMoments
from onnxq.pass_options import choice, whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.bias_codes import least_weight_scale
from onnxq.plan.channels import read_factors, writing_of
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import PerAxis, PerBlock, QParams
from onnxq.plan.weight_codes import code_limits
from onnxq.runtime.segments import LayerInputs, affordable_samples, uncut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.rounded import Rounded

__all__ = ["RoundWeights"]

_NEAREST = "nearest"
_FEW_BITS = 8
_BUDGET_BYTES = 1 << 29
_FEWEST, _MOST = 8, 128
# Rows per column of H, at least, and rows at least: fewer leave H nearly singular.
_ROWS_PER_COLUMN, _LEAST_ROWS = 4, 8192
_LAYERS = ("Conv", "Gemm", "MatMul")


class _Layer(NamedTuple):
    """A layer to round, as the float model has it.

    Attributes:
        node: The layer.
        weight: float32, its shape.
        plan: Of the weight.
        window: Where a Conv looks; None for Gemm and MatMul.
    """

    node: ir.Node
    weight: npt.NDArray[np.float32]
    plan: ValuePlan
    window: Window | None


@dataclass(frozen=True)
class RoundWeights(PlanPass):
    """Fills codes, scales and bias shifts of layers whose weights have few bits.

    1. A layer is rounded if it runs on integers, its weight has fewer than 8 bits and scales per
       channel or one scale, no other layer reads the weight, and no channels of its input are
       quantized apart.
    2. A bias, where the layer has one or can have one, makes up for the difference of the means.
    3. No scale is so small that the bias would leave int32.

    Attributes:
        lower: Makes the quantized model of a plan, with node names kept.
        method: How to round: "gptq+cd", "gptq", or "nearest", which leaves all as it is.
        samples: How many calibration samples to run; None = as many as :data:`_BUDGET_BYTES` hold
            of both models' live values, 8 to 128.
    """

    name = "round-weights"
    options = MappingProxyType(
        {
            "method": choice(*METHODS, _NEAREST),
            "samples": whole("a whole number, 1 or more", lambda count: count >= 1),
        }
    )
    after = frozenset({"fit-activations", "fit-weights", "split-outliers", "keep-signal"})

    lower: Callable[[ir.Model, QuantPlan], ir.Model]
    method: str = "gptq+cd"
    samples: int | None = None

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the codes; runs both models once over the samples."""
        layers = {}
        for node in context.model.graph if self.method != _NEAREST else ():
            found = _layer(node, plan)
            if isinstance(found, _Layer):
                layers[str(node.name)] = found
            elif found is not None:
                plan = plan.with_notes([Note(NoteKind.REFUSED, self.name, str(node.name), found)])
        if not layers:
            return plan
        if (reason := uncut(context.model)) is not None:
            return plan.with_notes([Note(NoteKind.REFUSED, self.name, "graph", reason)])
        affordable = affordable_samples(context.shapes.values(), _BUDGET_BYTES, 2, _FEWEST, _MOST)
        feeds = list(context.samples(self.samples or affordable))
        coded = self.lower(context.model, plan)
        runs = (
            LayerInputs(model, layers, feeds, threads=context.threads)
            for model in (context.model, coded)
        )
        for number, ((node, reals), (copy, codes)) in enumerate(zip(*runs, strict=True)):
            layer = layers[str(node.name)]
            moments = _moments(layer, reals, codes, np.random.default_rng(number))
            better = self._round(layer, moments, plan)
            plan = _with(plan, layer, better, moments)
            _write(copy, layer, plan)
            gain = 10 * math.log10(max(better.before, 1e-30) / max(better.after, 1e-30))
            text = f"error {gain:.1f} dB below that of the nearest codes"
            plan = plan.with_notes([Note(NoteKind.FIRED, self.name, str(node.name), text)])
        return plan

    def _round(self, layer: _Layer, moments: SecondMoments, plan: QuantPlan) -> Rounded:
        node, spec = layer.node, layer.plan.spec
        x = plan.of(str(node.inputs[0].name), Use(str(node.name), 0))  # type: ignore[union-attr]
        factors = read_factors(node, x)
        anchor = layer.weight if factors is None else layer.weight * factors
        least: npt.NDArray[np.float32] | float = 0.0
        bias = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is not None and x is not None:
            least = least_weight_scale(bias.reshape(-1), x)
            least = least.reshape(groups_of(node), -1, 1) if spec.axis is not None else least.max()
        return rounded(
            to_rows(node, layer.weight).astype(np.float64),
            to_rows(node, anchor).astype(np.float64),
            moments,
            code_limits(spec),
            centred=_takes_bias(node),
            per_row=isinstance(spec.granularity, PerAxis),
            least_scale=least,
            method=self.method,
        )


def _layer(node: ir.Node, plan: QuantPlan) -> _Layer | str | None:
    """Returns the layer, the reason why its codes stay (rule 1), or None if it is none of these."""
    if node.op_type not in _LAYERS or str(node.name) in plan.float_nodes:
        return None
    x, value = node.inputs[0], node.inputs[1]
    weight = weight_of(value)
    if x is None or value is None or weight is None:
        return None
    planned = plan.of(str(value.name), Use(str(node.name), 1))
    coded = plan.of(str(x.name), Use(str(node.name), 0)) is not None
    if planned is None or planned.spec.dtype.bits >= _FEW_BITS or not coded:
        return None
    window = window_of(node) if node.op_type == "Conv" else None
    faults = {
        "its scales are those of blocks": isinstance(planned.spec.granularity, PerBlock),
        "another layer reads its weight": len(value.uses()) > 1,
        "channels of its input are quantized apart": str(x.name) in plan.clusters,
        "its weight does not have rank 2": weight.ndim != 2 and node.op_type != "Conv",
        str(window): isinstance(window, str),
    }
    fault = next((reason for reason, holds in faults.items() if holds), None)
    return fault or _Layer(node, weight, planned, None if isinstance(window, str) else window)


def _takes_bias(node: ir.Node) -> bool:
    return node.op_type in ("Conv", "Gemm")


def _moments(
    layer: _Layer,
    reals: Sequence[npt.NDArray[Any]],
    codes: Sequence[npt.NDArray[Any]],
    rng: np.random.Generator,
) -> SecondMoments:
    """Returns the moments of what both models' layers read, at the same places."""
    rows = to_rows(layer.node, layer.weight)
    moments = SecondMoments(rows.shape[0], rows.shape[2])
    wanted = max(_ROWS_PER_COLUMN * rows.shape[2], _LEAST_ROWS)
    each = -(-wanted // max(1, len(reals)))
    for x, x_hat in zip(reals, codes, strict=True):
        places = _places(layer, x, each, rng)
        moments.add(_rows(layer, x, places), _rows(layer, x_hat, places))
    return moments


def _places(
    layer: _Layer, x: npt.NDArray[Any], count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Returns at most ``count`` output positions: [n, spatial axes], or rows [n]."""
    if layer.window is None:
        total, sizes = x.size // x.shape[-1], None
    else:
        window = layer.window
        axes = zip(x.shape[2:], window.slack, window.strides, strict=True)
        sizes = [max(0, (n - 1 + slack) // stride + 1) for n, slack, stride in axes]
        total, count = math.prod(sizes), -(-count // x.shape[0])
    chosen = np.sort(rng.choice(total, min(count, total), replace=False))
    return chosen if sizes is None else np.stack(np.unravel_index(chosen, sizes), axis=1)


def _rows(
    layer: _Layer, x: npt.NDArray[Any], places: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Returns what the layer multiplies with its weight at these places, float32 [G, n, K]."""
    if layer.window is None:
        return np.asarray(x.reshape(-1, x.shape[-1])[places], np.float32)[np.newaxis]
    window = layer.window
    offsets = [window.offsets(axis) for axis in range(len(window.kernel))]
    starts = places * np.array(window.strides)
    return patches(np.asarray(x, np.float32), starts, offsets, groups_of(layer.node))


def _with(plan: QuantPlan, layer: _Layer, found: Rounded, moments: SecondMoments) -> QuantPlan:
    """Returns ``plan`` with the layer's codes and, by rule 2, its bias shift."""
    node, name = layer.node, str(layer.node.inputs[1].name)  # type: ignore[union-attr]
    codes = from_rows(node, found.codes, layer.weight.shape)
    scale = found.scale.reshape(-1) if layer.plan.spec.axis is not None else found.scale.max()
    params = QParams(np.asarray(scale, np.float32), np.zeros(np.shape(scale), np.int32), "gptq")
    plan = plan.with_values({name: replace(layer.plan, params=params, codes=kept(codes))})
    if not _takes_bias(node):
        return plan
    x, x_hat = moments.means
    rows = to_rows(node, layer.weight).astype(np.float64)
    shift = rows @ x[:, :, np.newaxis] - (found.codes * found.scale) @ x_hat[:, :, np.newaxis]
    shifts = {**plan.bias_shift, str(node.name): shift.reshape(-1).astype(np.float32)}
    return replace(plan, bias_shift=shifts)


def _write(copy: ir.Node, layer: _Layer, plan: QuantPlan) -> None:
    """Gives the layer's copy in the quantized model what the plan now says, as floats."""
    node = layer.node
    planned = plan.values[str(node.inputs[1].name)]  # type: ignore[union-attr]
    assert planned.params is not None
    assert planned.codes is not None
    scale = planned.params.scale.reshape(-1, 1)
    real = to_rows(node, np.asarray(planned.codes, np.float32))
    real = real.reshape(-1, real.shape[2]) * scale
    writing = writing_of(node, plan)
    if writing is not None:
        real = real * writing.factor.reshape(-1, 1)
    weight = from_rows(node, real.astype(np.float32), layer.weight.shape)
    replace_weight(copy, 1, weight)
    if not _takes_bias(node):
        return
    bias = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
    total = plan.bias_shift[str(node.name)] + (0 if bias is None else bias.reshape(-1))
    if writing is not None:
        total = total * writing.factor + writing.offset
    replace_weight(copy, 2, np.asarray(total, np.float32), f"{node.name}_bias")
