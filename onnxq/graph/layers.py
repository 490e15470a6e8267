"""The layers of a model that multiply and add, float or quantized: of which kind, how much work."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.inventory import all_nodes
from onnxq.graph.query import is_op, macs, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir

    Shapes = Mapping[str, Sequence[int | None]]

__all__ = ["LayerKind", "layer_kinds", "layer_macs", "reads_integers", "uncounted"]


class _Form(NamedTuple):
    """How an operator computes.

    Attributes:
        convolves: Whether it is a convolution; else it is a matrix product.
        weight: Position of the weight among the inputs, or of the right factor.
        counted: Whether :func:`onnxq.graph.query.macs` knows it.
    """

    convolves: bool
    weight: int
    counted: bool = False


_FORMS = {
    "Conv": _Form(True, 1, counted=True),
    "ConvTranspose": _Form(True, 1, counted=True),
    "Gemm": _Form(False, 1, counted=True),
    "MatMul": _Form(False, 1, counted=True),
    "ConvInteger": _Form(True, 1),
    "FusedConv": _Form(True, 1),
    "QLinearConv": _Form(True, 3),
    "DynamicQuantizeMatMul": _Form(False, 1),
    "FusedGemm": _Form(False, 1),
    "FusedMatMul": _Form(False, 1),
    "MatMulInteger": _Form(False, 1),
    "MatMulIntegerToFloat": _Form(False, 1),
    "QGemm": _Form(False, 3),
    "QLinearMatMul": _Form(False, 3),
}
_UNCOUNTED = frozenset(
    ("Attention", "DecoderMaskedMultiHeadAttention", "DeformConv", "Einsum", "GRU",
     "GroupQueryAttention", "LSTM", "MatMulBnb4", "MatMulNBits", "MultiHeadAttention", "QAttention",
     "QMoE", "MoE", "RNN")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerKind:
    """All layers of one kind.

    Attributes:
        kind: Operator, size of the kernel, and what it does with channels: "Conv 3×3 depthwise".
        layers: How many there are, those in subgraphs included.
        macs: Multiply-accumulates of one run, of those whose shapes are known.
        unknown: How many have a shape that is not known.
    """

    kind: str
    layers: int
    macs: int
    unknown: int = 0


def layer_kinds(model: ir.Model, shapes: Shapes) -> list[LayerKind]:
    """Sums up layers by kind, the most work first.

    Args:
        model: The model; a layer in a subgraph counts once, however often it runs.
        shapes: Value name → shape; where it is silent, the model's own shapes count.
    """
    found: dict[str, list[int | None]] = {}
    for node in all_nodes(model):
        if node.op_type in _FORMS:
            found.setdefault(_kind(node, shapes), []).append(layer_macs(node, shapes))
    rows = [
        LayerKind(kind, len(counts), sum(c or 0 for c in counts), counts.count(None))
        for kind, counts in found.items()
    ]
    return sorted(rows, key=lambda row: (-row.macs, row.kind))


def layer_macs(node: ir.Node, shapes: Shapes) -> int | None:
    """Counts the multiply-accumulates of one run of a layer, as float and quantized ones alike.

    Args:
        node: Any node; one that is no such layer counts 0.
        shapes: Value name → shape; where it is silent, the model's own shapes count.

    Returns:
        The count, with an unknown batch (first) dimension taken as 1; None if another dimension
        that it depends on is unknown.
    """
    form = _FORMS.get(node.op_type)
    if form is None or form.counted:
        return macs(node, shapes)
    output = _dims(node.outputs[0], shapes, batch=True)
    if form.convolves:
        weight = _dims(_input(node, form.weight), shapes)
        return None if output is None or weight is None else math.prod(output + weight[1:])
    left = _dims(_input(node, 0), shapes, batch=True)
    if output is None or not left:
        return None
    transposed = node.attributes.get_int("transA", 0) == 1
    return math.prod(output) * (left[-2] if transposed else left[-1])


def reads_integers(node: ir.Node) -> bool:
    """Says whether a layer multiplies integers, or what a runtime can turn into that.

    It does if it is an integer operator, or if both of its factors are dequantized.
    """
    form = _FORMS.get(node.op_type)
    if form is None:
        return False
    if not form.counted and "Fused" not in node.op_type:
        return True
    factors = (_input(node, 0), _input(node, form.weight))
    return all(
        factor is not None and is_op(factor.producer(), "DequantizeLinear") for factor in factors
    )


def uncounted(model: ir.Model) -> dict[str, int]:
    """Returns operator → number of nodes, of those that multiply a lot and are not counted here."""
    found = Counter(node.op_type for node in all_nodes(model) if node.op_type in _UNCOUNTED)
    return dict(sorted(found.items()))


def _kind(node: ir.Node, shapes: Shapes) -> str:
    form = _FORMS[node.op_type]
    weight = _dims(_input(node, form.weight), shapes)
    if not form.convolves or weight is None:
        return node.op_type
    words = [node.op_type, "×".join(map(str, weight[2:]))]
    group = node.attributes.get_int("group", 1) or 1
    if group > 1:
        words.append("depthwise" if weight[1] == 1 else "grouped")
    return " ".join(words)


def _input(node: ir.Node, position: int) -> ir.Value | None:
    return node.inputs[position] if position < len(node.inputs) else None


def _dims(value: ir.Value | None, shapes: Shapes, *, batch: bool = False) -> tuple[int, ...] | None:
    """Returns the shape if all of it is known; an unknown batch counts as 1."""
    shape = shapes.get(value.name or "") if value is not None else None
    shape = shape_of(value) if shape is None else tuple(shape)
    if shape is None:
        return None
    if batch and shape and shape[0] is None:
        shape = (1, *shape[1:])
    dims = tuple(dim for dim in shape if dim is not None)
    return dims if len(dims) == len(shape) else None
