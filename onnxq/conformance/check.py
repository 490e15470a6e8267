"""Asks every rule about every node of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.conformance.biases import bias, bias_trap
from onnxq.conformance.fusion import (
    attributes,
    float_layer,
    function,
    half_quantized,
    island,
    moved_params,
    outputs,
    signed_activation,
)
from onnxq.conformance.pairs import double_pair, pair_form, pair_mismatch, wasted_pair
from onnxq.conformance.site import Site, is_pair_node
from onnxq.conformance.types import (
    activation_type,
    half_weights,
    opset_of_pair,
    scale_type,
    weight_type,
)
from onnxq.conformance.weights import (
    asymmetric_weight,
    saturation,
    silent_weight,
    unfolded_weight,
    weight_axis,
    weight_only_layer,
)
from onnxq.conformance.whole import dynamic_shape, no_kernels, operator_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from onnxq.conformance.finding import Finding, Severity
    from onnxq.plan.target import Target

__all__ = ["broken_rules", "worst"]

_RULES: tuple[Callable[[Site], Iterator[Finding]], ...] = (
    attributes,
    activation_type,
    signed_activation,
    weight_type,
    unfolded_weight,
    silent_weight,
    asymmetric_weight,
    weight_axis,
    saturation,
    weight_only_layer,
    bias,
    bias_trap,
    half_quantized,
    outputs,
    function,
    moved_params,
    float_layer,
    island,
)


def broken_rules(model: ir.Model, target: Target) -> tuple[Finding, ...]:
    """Returns what is wrong with ``model`` on ``target``, in the order of its nodes.

    A model without quantized values is held to what half precision and the target's shapes ask for
    alone.

    Args:
        model: With Constant nodes as initializers, and with types as far as they can be inferred.
            It stays as it is.
        target: What it is to run on.
    """
    graph, opset = model.graph, int(model.graph.opset_imports.get("", 0))
    found = [*dynamic_shape(graph, target), *half_weights(graph), *no_kernels(graph, target)]
    quantized = any(is_pair_node(node) for node in graph)
    for node in ir.traversal.RecursiveGraphIterator(graph):
        if is_pair_node(node):
            found += _of_pair(node, target, opset)
            continue
        found += operator_form(node, target)
        if quantized and target.multiplies and node.graph is graph:
            site = Site(node, target)
            found += [finding for rule in _RULES for finding in rule(site)]
    return tuple(found)


def _of_pair(node: ir.Node, target: Target, opset: int) -> list[Finding]:
    """A pair that is not legal is asked no more."""
    if broken := list(pair_form(node)):
        return broken
    found = [*opset_of_pair(node, opset), *scale_type(node, target)]
    found += [*pair_mismatch(node), *double_pair(node)]
    return [*found, *wasted_pair(node, target)] if target.multiplies else found


def worst(findings: Iterable[Finding]) -> Severity | None:
    """Returns the severity of the finding that matters most; None if there is none."""
    return max((f.severity for f in findings), key=lambda s: s.value, default=None)
