"""Puts a plan's clusters into effect: readers of split values become sums (rule 8 of lowering)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.packed import widened_codes
from onnxq.graph.partial_sums import WeightPart, cut_sum, pick_channels
from onnxq.graph.qdq import Affine
from onnxq.graph.query import weight_of
from onnxq.plan.clusters import columns_of, without_columns
from onnxq.plan.weight_codes import weight_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    import numpy as np
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.graph.qdq import GraphEditor
    from onnxq.plan.clusters import ClusterSplit
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

    Absorb = Callable[[ir.Node, npt.NDArray[np.float32], ValuePlan], ValuePlan]

__all__ = ["SplitReader", "affine_of", "cut_sums", "lowered_codes", "split_readers"]

_WEIGHT_POSITION = 1


def affine_of(plan: ValuePlan) -> Affine:
    """Returns what a Q/DQ pair holds; zero points are spelled out: without a weight's no QGemm."""
    params, storage = plan.params, plan.spec.dtype.storage
    assert params is not None, "the check stage refuses plans without params"
    return Affine(params.scale, params.zero_point.astype(storage), plan.spec.axis)


class SplitReader(NamedTuple):
    """A node that reads a split value.

    Attributes:
        node: The node.
        value: The float value.
        split: What is taken out of it.
        weights: The codes of the node's weight for each part, how they are read, and their bits.
    """

    node: ir.Node
    value: ir.Value
    split: ClusterSplit
    weights: list[tuple[npt.NDArray[np.integer], Affine, int]]


def split_readers(
    nodes: Iterable[ir.Node], plan: QuantPlan, integer: Collection[str], absorb: Absorb
) -> list[SplitReader]:
    """Returns who reads split values; to be asked before lowering changes names.

    Args:
        nodes: Of the float model.
        plan: Tells the clusters.
        integer: Names of the nodes that run on integers.
        absorb: Returns a weight's plan with the scales of the channels that its node writes.
    """
    found = []
    for node in nodes:
        value = node.inputs[0] if node.inputs else None
        split = plan.clusters.get(str(value.name)) if value is not None else None
        if value is None or split is None or str(node.name) not in integer:
            continue
        weight = weight_of(node.inputs[_WEIGHT_POSITION])
        assert weight is not None, "the check stage refuses to split others"
        weights = []
        for part in split.parts:
            columns = columns_of(node, weight, part.channels)
            planned = absorb(node, columns, part.weights[str(node.name)])
            bits = planned.spec.dtype.bits
            weights.append((weight_codes(columns, planned), affine_of(planned), bits))
        found.append(SplitReader(node, value, split, weights))
    return found


def lowered_codes(
    editor: GraphEditor, node: ir.Node, position: int, planned: ValuePlan, plan: QuantPlan
) -> ir.Value:
    """Returns a weight's codes as integer kernels read them, without columns that are taken out.

    Args:
        editor: Of the graph.
        node: Reads the weight.
        position: Of the input that the weight is.
        planned: The weight's plan.
        plan: Tells the clusters.
    """
    value = node.inputs[position]
    weight = weight_of(value)
    assert value is not None
    assert weight is not None
    codes, stem = weight_codes(weight, planned), f"{value.name}_codes"
    split = plan.clusters.get(str(node.inputs[0].name)) if node.inputs[0] is not None else None
    if split is None or position != _WEIGHT_POSITION:
        return widened_codes(editor, stem, codes, planned.bits, planned.levels)
    # The zeros for what is taken out need not be levels of a codebook.
    rest = without_columns(node, codes, split.taken)
    return widened_codes(editor, stem, rest, planned.spec.dtype.bits)


def cut_sums(editor: GraphEditor, readers: Iterable[SplitReader]) -> None:
    """Turns every reader, lowered already, into the sum of the rest and of its parts."""
    picked: dict[int, ir.Value] = {}
    for node, value, split, weights in readers:
        axis = 1 if node.op_type == "Conv" else -1
        for part in split.parts:
            if id(part) not in picked:
                picked[id(part)] = pick_channels(
                    editor, value, part.channels, axis, affine_of(part.value)
                )
        between = split.sums.get(str(node.name))
        parts = [
            WeightPart(picked[id(part)], *weight)
            for part, weight in zip(split.parts, weights, strict=True)
        ]
        cut_sum(editor, node, parts, None if between is None else affine_of(between))
