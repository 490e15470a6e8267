"""Rules about weights: how they are stored, the axis of their scales, what they add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.conformance.finding import Finding, Severity
from onnxq.conformance.site import quantizers
from onnxq.graph.query import weight_of
from onnxq.graph.roles import attribute
from onnxq.numerics.pairs import kernel_rows, pair_excess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnxq.conformance.site import Site

__all__ = [
    "asymmetric_weight",
    "saturation",
    "silent_weight",
    "unfolded_weight",
    "weight_axis",
    "weight_only_layer",
]

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def unfolded_weight(site: Site) -> Iterator[Finding]:
    """Weights are stored as codes, not as floats in front of a pair."""
    pair = site.weight
    if pair is None or pair.stored is not None:
        return
    yield site.finding(
        "unfolded-weight",
        Severity.WARNING if site.target.onnxruntime_kernels else Severity.NOTE,
        "its weight is stored as floats and quantized at each run: four times the size",
        "store the codes, with a DequantizeLinear alone",
    )


def silent_weight(site: Site) -> Iterator[Finding]:
    """A float weight between codes is quantized by onnxruntime without a word, with one scale."""
    if not site.heavy or not site.reads_codes or site.weight is not None:
        return
    if weight_of(site.input_at(1)) is None:
        return
    if site.target.onnxruntime_kernels and quantizers(site.written):
        yield site.finding(
            "silent-weight",
            Severity.WARNING,
            "its weight is float between quantized values; onnxruntime quantizes it silently, with"
            " one scale",
            "quantize the weight, or put Max(x, -3e38) in front to keep the layer float",
        )
        return
    yield site.finding(
        "float-layer",
        Severity.NOTE,
        "its input is quantized, its weight is not, so it computes in float",
        "quantize the weight as well",
    )


def asymmetric_weight(site: Site) -> Iterator[Finding]:
    """Weights are symmetric: other zero points cost time, or are refused."""
    pair = site.weight
    if not site.heavy or pair is None or pair.zero_point is None:
        return
    unsigned = pair.zero_point.dtype == np.uint8
    if not (pair.zero_point.astype(np.int64) != (128 if unsigned else 0)).any():
        return
    target = site.target
    if target.onnxruntime_kernels:
        severity, text = Severity.NOTE, "the zero point of its weight costs 10 to 100 % more time"
    elif target.symmetric:
        severity = Severity.ERROR if target.refuses else Severity.WARNING
        text = f"its weight is not symmetric, which {target.name} asks for"
    else:
        return
    yield site.finding("asymmetric-weight", severity, text, "quantize weights symmetrically")


def weight_axis(site: Site) -> Iterator[Finding]:
    """Scales of a weight run along the axis that the target takes for its channels."""
    pair, target = site.weight, site.target
    if not site.heavy or pair is None or pair.axis is None or pair.block:
        return
    wanted = target.weight_axis(site.node.op_type, site.output_axis)
    if wanted is None:
        yield site.finding(
            "weight-channels",
            Severity.ERROR,
            f"its weight has {pair.scale.size} scales, where {target.name} takes one",  # type: ignore[union-attr]
            "quantize the weight with one scale",
        )
    elif pair.axis != wanted:
        wrong = target.onnxruntime_kernels or site.node.op_type == "ConvTranspose"
        yield site.finding(
            "weight-axis",
            Severity.ERROR if wrong else Severity.WARNING,
            f"the scales of its weight run along axis {pair.axis}, and {target.name} takes them"
            f" along axis {wanted}",
            f"quantize the weight along axis {wanted}, or with one scale",
        )


def saturation(site: Site) -> Iterator[Finding]:
    """Neighbouring products of unsigned and signed bytes fit 16 bits, where these add them up."""
    bound, pair = site.target.pair_bound, site.weight
    if bound is None or not site.heavy or pair is None or pair.stored is None:
        return
    if not site.reads_codes or _is_depthwise(site.node) or pair.stored.ndim < 2:
        return
    inputs = {data.dtype for _, data in site.data if data is not None}
    if ir.DataType.UINT8 not in inputs or pair.dtype == ir.DataType.UINT8:
        return
    first = np.moveaxis(np.asarray(pair.stored, np.int32), site.output_axis, 0)
    rows = kernel_rows(first) if first.ndim > 2 else first
    excess = pair_excess(np.asarray(rows, np.int32), bound // 255)
    if (excess > 0).any():
        yield site.finding(
            "saturation",
            Severity.ERROR,
            f"{int((excess > 0).sum())} of {excess.size} channels hold codes whose products can"
            " exceed 16 bits in pairs, which x86 without VNNI cuts off",
            "quantize weights to 7 bits where that happens, or run with session.x64quantprecision",
        )


def weight_only_layer(site: Site) -> Iterator[Finding]:
    """A weight that is dequantized in front of a float convolution is so at every run."""
    if site.weight is None or site.node.op_type not in _CONVOLUTIONS:
        return
    if site.reads_codes and site.heavy:
        return
    if site.target.onnxruntime_kernels:
        yield site.finding(
            "weight-only-layer",
            Severity.WARNING,
            "its weight is dequantized at every run, and it computes in float",
            "quantize its input too, or write Cast and Mul, which onnxruntime folds at once",
        )


def _is_depthwise(node: ir.Node) -> bool:
    weight = node.inputs[1]
    shape = None if weight is None else weight.shape
    channels = None if shape is None or len(shape) < 2 else shape[1]
    return int(attribute(node, "group", 1)) > 1 and channels == 1
