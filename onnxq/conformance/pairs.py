"""Rules about QuantizeLinear and DequantizeLinear themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.conformance.finding import Finding, Severity
from onnxq.conformance.site import is_pair_node, label, read_pair, same_params
from onnxq.graph.query import weight_of
from onnxq.graph.spec_qdq import violations_of_qdq_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from onnxq.plan.target import Target

__all__ = ["double_pair", "pair_form", "pair_mismatch", "wasted_pair"]


_SHAPE = "zero point of shape"


def _found(node: ir.Node, rule: str, severity: Severity, text: str, mend: str) -> Finding:
    return Finding(rule, severity, label(node), node.op_type, text, mend)


def pair_form(node: ir.Node) -> Iterator[Finding]:
    """A pair is legal: scales are positive numbers, shapes and types fit."""
    constant = len(node.inputs) > 1 and weight_of(node.inputs[1]) is not None
    if len(node.inputs) > 1 and not constant:
        yield _found(
            node,
            "computed-scale",
            Severity.WARNING,
            "its scale is computed, so what reads it computes in float",
            "quantize with constant scales",
        )
        return
    for line in violations_of_qdq_node(node):
        if _SHAPE in line and read_pair(node).axis is None and not read_pair(node).block:
            continue  # one number is one number, in a list or not
        text = line.removeprefix(f"node '{node.name}' ")
        yield _found(node, "pair-form", Severity.ERROR, f"it {text}", "quantize it anew")


def pair_mismatch(node: ir.Node) -> Iterator[Finding]:
    """Codes are read with the scale and zero point that they were written with."""
    maker = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node.op_type != "DequantizeLinear" or not is_pair_node(maker, "QuantizeLinear"):
        return
    read, written = read_pair(node), read_pair(maker)  # type: ignore[arg-type]
    # with a scale per channel it is a factor per channel that costs nothing
    if read.axis is None and written.axis is None and not same_params(read, written):
        yield _found(
            node,
            "pair-mismatch",
            Severity.ERROR,
            f"it reads codes with another scale than '{label(maker)}' wrote them with",  # type: ignore[arg-type]
            "give both the same scale and zero point",
        )


def double_pair(node: ir.Node) -> Iterator[Finding]:
    """A value is quantized once; onnxruntime merges two pairs in a row, with other results."""
    maker = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node.op_type != "QuantizeLinear" or not is_pair_node(maker, "DequantizeLinear"):
        return
    if read_pair(maker).stored is not None:  # type: ignore[arg-type]
        return
    same = same_params(read_pair(maker), read_pair(node))  # type: ignore[arg-type]
    more = "" if same else ", with another scale: onnxruntime makes one of both, with other results"
    yield _found(
        node,
        "double-pair",
        Severity.NOTE if same else Severity.WARNING,
        f"it quantizes what was dequantized just before{more}",
        "quantize the value once",
    )


def wasted_pair(node: ir.Node, target: Target) -> Iterator[Finding]:
    """A value is quantized for something that runs on integers."""
    source = node.inputs[0]
    if node.op_type != "QuantizeLinear" or source is None or weight_of(source) is not None:
        return
    readers = [u for u in node.outputs[0].consumers() if is_pair_node(u, "DequantizeLinear")]
    if not readers or len(readers) < len(node.outputs[0].consumers()):
        return
    around = [source.producer(), *(u for r in readers for u in r.outputs[0].consumers())]
    if any(r.outputs[0].is_graph_output() for r in readers) and source.producer() is None:
        return
    if any(_has_kernel(other, target) for other in around if other is not None):
        return
    yield _found(
        node,
        "wasted-pair",
        Severity.WARNING,
        f"nothing before or behind it runs on integers on {target.name}: it costs time and accuracy"
        " alone",
        "remove the pair",
    )


def _has_kernel(node: ir.Node, target: Target) -> bool:
    if is_pair_node(node) or node.domain != "":
        return True
    if node.op_type in target.ops:
        return True
    # what keeps a layer float on purpose
    return node.op_type == "Max" and target.onnxruntime_kernels
