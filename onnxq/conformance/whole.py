"""Rules about a model as a whole: its form, its shapes, whether the target has kernels at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.conformance.finding import Finding, Severity
from onnxq.conformance.site import is_pair_node, label

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from onnxq.plan.target import Target

__all__ = ["dynamic_shape", "no_kernels", "operator_form"]

_DYNAMIC = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
_MICROSOFT = "com.microsoft"
_INTEGER = ("QLinear", "QGemm", "QAttention", "DynamicQuantize", "MatMulInteger")


def _is_integer_operator(node: ir.Node) -> bool:
    if node.domain == "":
        return node.op_type.startswith("QLinear") or node.op_type in _DYNAMIC
    return node.domain == _MICROSOFT and node.op_type.startswith(_INTEGER)


def _is_dynamic(node: ir.Node) -> bool:
    """Whether a layer's codes are made while the model runs."""
    value = node.inputs[0] if node.inputs else None
    source = None if value is None else value.producer()
    return source is not None and source.op_type == "DynamicQuantizeLinear"


def dynamic_shape(graph: ir.Graph, target: Target) -> Iterator[Finding]:
    """Inputs have known sizes where the target takes no others."""
    if not target.static_shapes:
        return
    for value in graph.inputs:
        if value.is_initializer():
            continue
        open_sizes = value.shape is None or any(not isinstance(dim, int) for dim in value.shape)
        if open_sizes:
            yield Finding(
                "dynamic-shape",
                Severity.ERROR,
                str(value.name),
                "",
                f"input '{value.name}' has an open size, and {target.name} takes fixed ones alone",
                "fix the shapes of the inputs before quantizing",
            )


def operator_form(node: ir.Node, target: Target) -> Iterator[Finding]:
    """Integer operators are of the form that the target takes."""
    if not _is_integer_operator(node):
        return
    if target.onnxruntime_kernels:
        if node.op_type == "ConvInteger" and _is_dynamic(node):
            yield Finding(
                "dynamic-layer",
                Severity.WARNING,
                label(node),
                node.op_type,
                "a convolution quantized at run time takes 3 to 50 times as long as in float",
                "quantize it ahead of time, with calibration data",
            )
        return
    yield Finding(
        "operator-form",
        Severity.ERROR if target.refuses else Severity.WARNING,
        label(node),
        node.op_type,
        f"{target.name} has no {node.op_type}; "
        + (
            "it refuses the model"
            if target.refuses
            else "the CPU runs it, with copies there and back"
        ),
        "quantize with QuantizeLinear and DequantizeLinear around the float operators"
        if target.multiplies
        else "give it the float model, or half precision",
    )


def no_kernels(graph: ir.Graph, target: Target) -> Iterator[Finding]:
    """A target without integer layers gets no quantized activations."""
    if target.multiplies:
        return
    for node in graph:
        if is_pair_node(node, "QuantizeLinear"):
            yield Finding(
                "no-kernels",
                Severity.WARNING,
                label(node),
                node.op_type,
                f"{target.name} runs no layer on integers: what this quantizes is computed in float"
                " or on the CPU",
                f"give it the float model, or --format {target.formats[0]}",
            )
            return
