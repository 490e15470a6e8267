"""Cuts the sum that a linear node makes over its input channels; knows integers, no plans.

    y = W · x     becomes     y = rest · x̂ + W[:, K] · x̂[K] + …      K the channels of each part

The node itself becomes the sum, so that its name and its value stay what they were; a node of the
same kind takes its place as the rest, with all its inputs. Each part picks its channels out with
Gather and quantizes them by itself. Partial sums meet in Add, those of a MatMul in Sum: onnxruntime
fuses MatMul with Add, and Gemm with Sum, into one Gemm, which stays float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.graph.packed import widened_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from onnxq.graph.qdq import Affine, GraphEditor

__all__ = ["WeightPart", "cut_sum", "pick_channels"]


@dataclass(frozen=True, eq=False)
class WeightPart:
    """The columns of a weight that read one part of the channels.

    Attributes:
        source: What they read: the part's channels, dequantized.
        codes: Integers, the weight's shape with k input channels.
        affine: Of the codes.
        bits: Of a code.
    """

    source: ir.Value
    codes: npt.NDArray[np.integer]
    affine: Affine
    bits: int = 8


def pick_channels(
    editor: GraphEditor,
    value: ir.Value,
    channels: npt.NDArray[np.int64],
    axis: int,
    affine: Affine,
) -> ir.Value:
    """Returns ``channels`` of a float value, quantized and dequantized, right behind its producer.

    Args:
        editor: Of the graph.
        value: Float, with its channels along ``axis``.
        channels: int64 [k].
        axis: Negative from the end.
        affine: Of the codes; one scale.
    """
    dims = None if value.shape is None else list(value.shape)
    if dims is not None:
        dims[axis] = channels.size
    picked = editor.node(
        "Gather",
        [value, editor.constant(f"{value.name}_outliers", channels)],
        stem=f"{value.name}_picked",
        dtype=ir.DataType.FLOAT,
        shape=None if dims is None else ir.Shape(dims),
        attributes={"axis": axis},
        after=value.producer(),
    )
    return _rounded(editor, picked, affine)


def cut_sum(
    editor: GraphEditor, node: ir.Node, parts: Sequence[WeightPart], between: Affine | None
) -> None:
    """Turns ``node`` into the sum of what it makes of the rest and of the parts.

    Args:
        editor: Of the node's graph.
        node: A Conv of one group, a Gemm or a MatMul that reads the rest already: its weight holds
            zeros where the parts' channels are.
        parts: At least one.
        between: How partial sums are quantized; None for float ones.
    """
    summands = [_partial(editor, node, list(node.inputs), between)]
    for part in parts:
        codes = widened_codes(editor, f"{node.name}_part_codes", part.codes, part.bits)
        weight = editor.dequantize(
            codes, part.affine, stem=f"{node.name}_part", after=codes.producer()
        )
        summands.append(_partial(editor, node, [part.source, weight], between))
    together = "Sum" if node.op_type == "MatMul" else "Add"
    while together == "Add" and len(summands) > 2:
        added = editor.node(
            "Add",
            summands[:2],
            stem=f"{node.name}_sum",
            dtype=ir.DataType.FLOAT,
            shape=node.outputs[0].shape,
            before=node,
        )
        summands[:2] = [added if between is None else _rounded(editor, added, between)]
    node.op_type = together
    node.attributes.clear()
    node.resize_inputs(len(summands))
    for position, summand in enumerate(summands):
        node.replace_input_with(position, summand)


def _partial(
    editor: GraphEditor, node: ir.Node, inputs: list[ir.Value | None], between: Affine | None
) -> ir.Value:
    """Adds a node like ``node`` in front of it."""
    made = editor.node(
        node.op_type,
        inputs,
        stem=f"{node.name}_partial",
        dtype=ir.DataType.FLOAT,
        shape=node.outputs[0].shape,
        attributes={name: item.value for name, item in node.attributes.items()},
        before=node,
    )
    return made if between is None else _rounded(editor, made, between)


def _rounded(editor: GraphEditor, value: ir.Value, affine: Affine) -> ir.Value:
    codes = editor.quantize(value, affine, after=value.producer(), before=None)
    return editor.dequantize(codes, affine, stem=str(value.name), after=codes.producer())
