"""Rules about what stands around an operator: whether its pairs fuse into an integer kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.conformance.finding import Finding, Severity
from onnxq.conformance.site import Pair, quantizers, read_pair, same_params
from onnxq.graph.query import weight_of
from onnxq.graph.roles import attribute
from onnxq.plan.obstacles import clip_bounds
from onnxq.plan.target import OpKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnxq.conformance.site import Site

__all__ = [
    "attributes",
    "float_layer",
    "function",
    "half_quantized",
    "island",
    "moved_params",
    "outputs",
    "signed_activation",
]

_LIMITS = {ir.DataType.UINT8: (0, 255), ir.DataType.INT8: (-128, 127)}


def float_layer(site: Site) -> Iterator[Finding]:
    """A layer whose operands are float computes in float."""
    if not site.layer or (site.heavy and (site.reads_codes or site.weight is not None)):
        return
    if site.heavy:
        yield site.finding("float-layer", Severity.NOTE, "it computes in float", "quantize it")
        return
    yield site.finding(
        "float-layer",
        Severity.NOTE,
        f"it computes in float: {site.target.name} has no integer kernel for {site.node.op_type}",
        "leave it float, or replace it by a layer that has one",
    )


def attributes(site: Site) -> Iterator[Finding]:
    """A layer's attributes are those of the integer kernel."""
    if site.rule is None or not site.reads_codes:
        return
    for name, wanted in site.rule.when.items():
        if attribute(site.node, name, wanted) != wanted:
            yield site.finding(
                "attribute",
                Severity.WARNING,
                f"its {name} is not {wanted}, so it computes in float",
                f"rewrite the layer to {name} = {wanted}, or leave it float",
            )


def half_quantized(site: Site) -> Iterator[Finding]:
    """All activations of an operator with an integer kernel are quantized, alike."""
    if site.rule is None or site.rule.vanishes or not site.reads_codes:
        return
    if site.rule.kind is OpKind.SAME_PARAMS and not quantizers(site.node.outputs[0]):
        return
    open_ends = [value for value, pair in site.data if pair is None]
    if open_ends and (site.heavy or quantizers(site.node.outputs[0])):
        yield site.finding(
            "half-quantized",
            Severity.WARNING,
            f"its operand '{open_ends[0].name}' is float, the others are quantized, so it computes"
            " in float",
            "quantize all its operands, or none",
        )
    types = {pair.dtype for _, pair in site.data if pair is not None and pair.dtype is not None}
    if len(types) > 1 and not site.heavy:
        yield site.finding(
            "half-quantized",
            Severity.WARNING,
            f"its operands are {' and '.join(sorted(t.name.lower() for t in types))}, so it"
            " computes in float",
            "quantize its operands to one type",
        )


def outputs(site: Site) -> Iterator[Finding]:
    """Where the kernel writes codes, one QuantizeLinear is all that reads the output."""
    rule = site.rule
    if rule is None or rule.vanishes or not rule.needs_output or not site.reads_codes:
        return
    if site.heavy and site.weight is None:
        return
    if rule.kind is OpKind.SAME_PARAMS:
        return
    written = site.written
    quantizing, users = quantizers(written), written.consumers()
    if not quantizing:
        yield site.finding(
            "no-output-pair",
            Severity.WARNING if site.heavy else Severity.NOTE,
            "its output is not quantized, so it computes in float",
            "put QuantizeLinear and DequantizeLinear behind it, at a graph output too",
        )
    elif site.target.onnxruntime_kernels and (len(users) > 1 or written.is_graph_output()):
        others = len(users) - len(quantizing) + written.is_graph_output()
        what = "float nodes read it too" if others else "it is quantized several times"
        yield site.finding(
            "several-readers",
            Severity.WARNING,
            f"its output is quantized, but {what}, so it computes in float",
            "let all of them read one DequantizeLinear of it",
        )


def function(site: Site) -> Iterator[Finding]:
    """Relu and Clip stand between a layer and its QuantizeLinear, and end where the codes do."""
    if site.rule is None or not site.rule.vanishes:
        return
    source = site.input_at(0)
    maker = site.data[0][1].codes.producer() if site.data and site.data[0][1] else None
    layer = (
        maker.inputs[0].producer()
        if maker is not None and maker.inputs and maker.inputs[0]
        else None
    )
    if layer is not None and layer.op_type in ("Conv", "ConvTranspose", "Gemm", "Add"):
        yield site.finding(
            "pair-before-function",
            Severity.WARNING,
            f"a pair stands between {layer.op_type} and {site.node.op_type}, which belong together",
            f"quantize behind {site.node.op_type} alone",
        )
    if site.rule.kind is not OpKind.ABSORBED or source is None:
        return
    front = source.producer()
    if front is None or front.op_type not in ("Conv", "Gemm", "Add"):
        return
    if not any(_dequantized(value) for value in front.inputs[:1]):
        return
    for quantizer in quantizers(site.node.outputs[0]):
        if not _saturates(read_pair(quantizer), clip_bounds(site.node)):
            yield site.finding(
                "saturating-function",
                Severity.WARNING,
                f"the codes behind it do not end where {site.node.op_type} does, so the layer in"
                " front computes in float",
                "make the zero point behind Relu the least code, end the range behind Clip with it",
            )


def _dequantized(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    return producer is not None and producer.op_type == "DequantizeLinear"


def _saturates(pair: Pair, bounds: tuple[float, float]) -> bool:
    limits = _LIMITS.get(pair.dtype) if pair.dtype is not None else None
    if limits is None or pair.scale is None:
        return True
    zero = np.zeros(1) if pair.zero_point is None else pair.zero_point.astype(np.float64)
    scale = pair.scale.astype(np.float64)
    low = np.rint(bounds[0] / scale) + zero
    high = np.rint(bounds[1] / scale) + zero
    return bool((low <= limits[0]).all() and (high >= limits[1]).all())


def moved_params(site: Site) -> Iterator[Finding]:
    """An operator that moves codes about has the same scale and zero point before and behind."""
    if site.rule is None or site.rule.kind is not OpKind.SAME_PARAMS:
        return
    before = [pair for _, pair in site.data if pair is not None]
    behind = [read_pair(q) for out in site.node.outputs for q in quantizers(out)]
    if before and any(not same_params(before[0], other) for other in (*before[1:], *behind)):
        yield site.finding(
            "moved-params",
            Severity.WARNING,
            "the scales before and behind it differ, so it computes in float",
            "give all of them one scale and zero point",
        )


def island(site: Site) -> Iterator[Finding]:
    """An operator without an integer kernel between quantized values costs two conversions."""
    if site.rule is not None or not site.reads_codes or site.layer:
        return
    if any(quantizers(out) for out in site.node.outputs):
        yield site.finding(
            "float-island",
            Severity.NOTE,
            f"{site.target.name} computes {site.node.op_type} in float, with a conversion before"
            " and behind",
            "leave its neighbours float too, or replace it",
        )


def signed_activation(site: Site) -> Iterator[Finding]:
    """Kernels of onnxruntime want unsigned activations; signed ones with one reader become so."""
    if not site.target.onnxruntime_kernels or not site.heavy or site.weight is None:
        return
    for value, pair in site.data:
        if pair is None or pair.dtype != ir.DataType.INT8 or weight_of(pair.codes) is not None:
            continue
        if len(list(value.uses())) > 1:
            yield site.finding(
                "signed-activation",
                Severity.WARNING,
                "its activation is int8 and has several readers, so it computes in float",
                "quantize activations to uint8",
            )
