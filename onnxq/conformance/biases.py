"""Rules about biases of layers on integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.conformance.finding import Finding, Severity
from onnxq.conformance.site import quantizers
from onnxq.graph.bias import added_bias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnxq.conformance.site import Pair, Site

__all__ = ["bias", "bias_trap"]

_BIAS = 2
# Beyond this onnxruntime does not fuse; below, it takes the product for the bias's own scale.
_TOLERANCE = 0.01


def _data_pair(site: Site) -> Pair | None:
    return next((pair for _, pair in site.data if pair is not None), None)


def bias(site: Site) -> Iterator[Finding]:
    """A bias has the type that the target takes, and the scale that its sums have."""
    x, w = _data_pair(site), site.weight
    if not site.heavy or x is None or w is None or site.node.op_type == "MatMul":
        return
    found = site.pair_at(_BIAS)
    if found is None:
        return
    if not site.target.integer_bias:
        yield site.finding(
            "bias-type",
            Severity.ERROR if site.target.refuses else Severity.WARNING,
            f"its bias is quantized, which {site.target.name} does not take",
            "leave biases float",
        )
        return
    if found.dtype not in (None, ir.DataType.INT32):
        yield site.finding(
            "bias-type",
            Severity.WARNING,
            f"its bias is {found.dtype.name.lower()}, so it computes in float",
            "store the bias as int32 with scale x_scale · w_scale",
        )
    elif not _fits(found, x, w):
        yield site.finding(
            "bias-scale",
            Severity.ERROR,
            "the scale of its bias is not that of its input times that of its weight",
            "compute the bias codes with x_scale · w_scale",
        )


def _fits(found: Pair, x: Pair, w: Pair) -> bool:
    if found.scale is None or x.scale is None or w.scale is None or x.scale.size > 1:
        return True
    wanted = x.scale.astype(np.float64).reshape(-1) * w.scale.astype(np.float64).reshape(-1)
    given = found.scale.astype(np.float64).reshape(-1)
    if given.size not in (1, wanted.size) and wanted.size != 1:
        return False
    return bool((np.abs(given - wanted) <= _TOLERANCE * np.abs(wanted)).all())


def bias_trap(site: Site) -> Iterator[Finding]:
    """A float bias behind a product of codes becomes a float Gemm that dequantizes at every run."""
    x, w = _data_pair(site), site.weight
    if site.node.op_type != "MatMul" or x is None or w is None:
        return
    found = added_bias(site.node.outputs[0])
    if found is None or not site.target.onnxruntime_kernels:
        return
    add, _, values = found
    if values.ndim == 1 and not quantizers(add.outputs[0]):
        yield site.finding(
            "bias-trap",
            Severity.WARNING,
            f"'{add.name}' adds a float bias to it, so onnxruntime makes a float Gemm of both,"
            " which dequantizes the weight at every run",
            "store the bias as int32 with scale x_scale · w_scale, or as [1, 1, channels]",
        )
