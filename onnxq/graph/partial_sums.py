"""Cuts the sum that a linear node makes over its input channels; knows integers, no plans.

    y = W · x     becomes     y = rest · x̂ + W[:, K] · x̂[K] + …      K the channels of each part

The node itself becomes the sum, so that its name and its value stay what they were; a node of the
same kind takes its place as the rest, with all its inputs. Each part picks its channels out with
Gather or Split and quantizes them by itself. Partial sums meet in Add, those of a MatMul in Sum:
onnxruntime fuses MatMul with Add, and Gemm with Sum, into one Gemm, which stays float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.packed import widened_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnxq.graph.qdq import Affine, GraphEditor

__all__ = ["WeightPart", "cut_sum", "pick_channels"]

_CHANNELS_PER_GATHERED = 48


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
    split = axis == -1 and _worth_a_split(value, channels)
    picked = (_split_off if split else _gather)(editor, value, channels, axis)
    return _rounded(editor, picked, affine)


def _worth_a_split(value: ir.Value, channels: npt.NDArray[np.int64]) -> bool:
    """Says whether the channels lie side by side, and are so many that a Split is the faster way.

    Along the last axis, Gather copies number by number, Split all channels, but in runs: of [1,
    197, 256], 4 channels take 13 and 14 µs, 32 take 72 and 28 µs. Along an axis further out, Gather
    copies runs as well, and only what is asked for. Slice is slower than both: onnxruntime moves
    QuantizeLinear in front of it, to all channels.
    """
    size = None if value.shape is None else value.shape[-1]
    together = bool((np.diff(channels) == 1).all())
    return together and isinstance(size, int) and channels.size * _CHANNELS_PER_GATHERED >= size


def _gather(
    editor: GraphEditor, value: ir.Value, channels: npt.NDArray[np.int64], axis: int
) -> ir.Value:
    return editor.node(
        "Gather",
        [value, editor.constant(f"{value.name}_outliers", channels)],
        stem=f"{value.name}_picked",
        dtype=ir.DataType.FLOAT,
        shape=_with_channels(value, channels.size, axis),
        attributes={"axis": axis},
        after=value.producer(),
    )


def _split_off(
    editor: GraphEditor, value: ir.Value, channels: npt.NDArray[np.int64], axis: int
) -> ir.Value:
    assert value.shape is not None
    size = value.shape[axis]
    assert isinstance(size, int)
    start, count = int(channels[0]), channels.size
    sizes = {"before": start, "picked": count, "behind": size - start - count}
    sizes = {name: length for name, length in sizes.items() if length}
    parts = {
        name: ir.Value(
            name=editor.fresh(f"{value.name}_{name}"),
            shape=_with_channels(value, length, axis),
            type=ir.TensorType(ir.DataType.FLOAT),
        )
        for name, length in sizes.items()
    }
    lengths = editor.constant(f"{value.name}_parts", np.array(list(sizes.values()), np.int64))
    name = editor.fresh(f"{value.name}_Split")
    node = ir.node(
        "Split", [value, lengths], {"axis": axis}, outputs=list(parts.values()), name=name
    )
    producer = value.producer()
    if producer is None:
        editor.graph.insert_before(editor.graph[0], node)
    else:
        editor.graph.insert_after(producer, node)
    return parts["picked"]


def _with_channels(value: ir.Value, count: int, axis: int) -> ir.Shape | None:
    dims = None if value.shape is None else list(value.shape)
    if dims is not None:
        dims[axis] = count
    return None if dims is None else ir.Shape(dims)


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
