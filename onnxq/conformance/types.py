"""Rules about element types: of codes, of scales, of floats in half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.conformance.finding import Finding, Severity
from onnxq.conformance.site import Pair, is_pair_node, label, read_pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnxq.conformance.site import Site
    from onnxq.plan.spec import IntType
    from onnxq.plan.target import Target

__all__ = ["activation_type", "half_weights", "opset_of_pair", "scale_type", "weight_type"]

_HALF_MOST = 65504.0
_HALF_LEAST = 6e-8
_SMALL = frozenset({"INT4", "UINT4", "INT16", "UINT16"})
_TINY = frozenset({"INT2", "UINT2"})


def _listed(types: Iterable[IntType]) -> str:
    return " or ".join(map(str, types))


def _word(pair: Pair) -> str:
    return "unknown" if pair.dtype is None else pair.dtype.name.lower()


def _takes(pair: Pair, types: Iterable[IntType]) -> bool:
    return pair.dtype is None or _word(pair) in map(str, types)


def activation_type(site: Site) -> Iterator[Finding]:
    """Activations have a type that the kernels take, one scale, and the zero point they ask for."""
    target = site.target
    if site.rule is None:
        return
    for _, pair in site.data:
        if pair is None:
            continue
        if not _takes(pair, target.activation_types):
            wanted = _listed(target.activation_types)
            maker = pair.codes.producer()
            default = is_pair_node(maker, "QuantizeLinear") and len(maker.inputs) < 3  # type: ignore[union-attr]
            why = "; a QuantizeLinear without a zero point writes uint8" if default else ""
            yield site.finding(
                "activation-type",
                Severity.ERROR if target.refuses else Severity.WARNING,
                f"its activation is {_word(pair)}{why}",
                f"quantize activations to {wanted}" + (", with a zero point" if default else ""),
            )
        elif target.symmetric and pair.asymmetric:
            yield site.finding(
                "asymmetric-activation",
                Severity.ERROR,
                f"the zero point of its activation is not 0, which {target.name} asks for",
                "quantize activations symmetrically",
            )
        if pair.axis is not None and not target.channel_activations:
            yield site.finding(
                "activation-channels",
                Severity.ERROR,
                f"its activation has {pair.scale.size} scales, where {target.name} takes one",  # type: ignore[union-attr]
                "quantize activations with one scale each",
            )


def weight_type(site: Site) -> Iterator[Finding]:
    """Weights of layers have a type that the kernels take."""
    pair = site.weight
    if not site.heavy or pair is None or not site.reads_codes:
        return
    if _takes(pair, site.target.weight_types):
        return
    if _word(pair) in ("int4", "uint4", "int2", "uint2") and site.target.onnxruntime_kernels:
        yield site.finding(
            "packed-weight",
            Severity.WARNING,
            f"its weight reaches it as {_word(pair)}, so it computes in float",
            "put a Cast to int8 between the codes and DequantizeLinear; the file stays small",
        )
        return
    yield site.finding(
        "weight-type",
        Severity.WARNING,
        f"its weight is {_word(pair)}, so it computes in float",
        f"quantize weights to {_listed(site.target.weight_types)}",
    )


def opset_of_pair(node: ir.Node, opset: int) -> Iterator[Finding]:
    """The operator set knows the types and granularities of a pair."""
    pair = read_pair(node)
    if node.domain != "":
        return
    name = "" if pair.dtype is None else pair.dtype.name
    needs, why = 10, "QuantizeLinear and DequantizeLinear"
    if pair.axis is not None:
        needs, why = 13, "a scale per channel"
    if name in _SMALL or pair.block:
        needs, why = 21, f"{name.lower()} codes" if name in _SMALL else "scales of blocks"
    if name in _TINY:
        needs, why = 25, f"{name.lower()} codes"
    if opset < needs:
        yield Finding(
            "opset",
            Severity.ERROR,
            label(node),
            node.op_type,
            f"{why} need opset {needs}, and the model says {opset}",
            f"convert the model to opset {needs} before quantizing it",
        )


def scale_type(node: ir.Node, target: Target) -> Iterator[Finding]:
    """Scales are float32 for onnxruntime's integer kernels."""
    pair = read_pair(node)
    if target.onnxruntime_kernels and pair.scale is not None and pair.scale.dtype == np.float16:
        yield Finding(
            "half-scale",
            Severity.WARNING,
            label(node),
            node.op_type,
            "its scale is float16, with which nothing runs on integers",
            "store scales as float32",
        )


def half_weights(graph: ir.Graph) -> Iterator[Finding]:
    """Constants in half precision hold finite numbers, not clipped ones, and not only zeros."""
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT16 or not tensor.size:
            continue
        size = np.abs(tensor.numpy().astype(np.float32))
        users = value.consumers()
        where = label(users[0]) if users else str(value.name)
        op = users[0].op_type if users else ""
        if not np.isfinite(size).all() or (size >= _HALF_MOST).any():
            yield Finding(
                "half-overflow",
                Severity.ERROR if not np.isfinite(size).all() else Severity.WARNING,
                where,
                op,
                f"constant '{value.name}' is beyond what half precision holds, or cut to it",
                "keep what reads it in float32",
            )
        elif 0 < size.max() < _HALF_LEAST:
            yield Finding(
                "half-underflow",
                Severity.WARNING,
                where,
                op,
                f"constant '{value.name}' is below {_HALF_LEAST:g}, of which half precision keeps"
                " next to nothing",
                "keep what reads it in float32",
            )
