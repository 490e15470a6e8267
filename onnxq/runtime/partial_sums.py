"""What the partial sums of a convolution measure on samples, before any of them exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import onnx_ir as ir

from onnxq.graph.qdq import GraphEditor
from onnxq.graph.query import weight_of
from onnxq.plan.clusters import columns_of
from onnxq.runtime.observe import observe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from onnxq.runtime.session import Feed

__all__ = ["SumRange", "partial_ranges"]


class SumRange(NamedTuple):
    """The range of one partial sum in each output channel, float64 [O] each."""

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def partial_ranges(
    model: ir.Model,
    sites: Mapping[str, Sequence[npt.NDArray[np.int64]]],
    feeds: Iterable[Feed],
    *,
    threads: int = 1,
) -> dict[str, list[SumRange]]:
    """Returns node name → the ranges of its partial sums, the rest with the bias first.

    Args:
        model: The float model; left as it is.
        sites: Name of a Conv → the channels of each part.
        feeds: One per sample.
        threads: Threads inside an operator.
    """
    model = model.clone()
    editor = GraphEditor(model.graph)
    nodes = {str(node.name): node for node in model.graph}
    sums = {name: _sums(editor, nodes[name], parts) for name, parts in sites.items()}
    axes = dict.fromkeys((value for values in sums.values() for value in values), 1)
    stats = observe(model, feeds, list(axes), channel_axis=axes, threads=threads)
    found: dict[str, list[SumRange]] = {}
    for name, values in sums.items():
        channels = [stats[value].channels for value in values]
        found[name] = [SumRange(c.minimum, c.maximum) for c in channels if c is not None]
    return found


def _sums(editor: GraphEditor, node: ir.Node, parts: Sequence[npt.NDArray[np.int64]]) -> list[str]:
    """Adds the partial sums behind ``node`` and returns their names, the rest's first."""
    weight, target = weight_of(node.inputs[1]), node.outputs[0]
    assert weight is not None
    rest, names, place = target, [], node
    for channels in parts:
        picked = _after(
            editor, place, "Gather", [node.inputs[0], editor.constant("k", channels)], 1
        )
        columns = editor.constant("columns", columns_of(node, weight, channels))
        attributes = {name: item.value for name, item in node.attributes.items()}
        made = editor.node(
            "Conv", [picked, columns], stem=f"{node.name}_part", dtype=ir.DataType.FLOAT,
            shape=target.shape, attributes=attributes, after=picked.producer(),
        )  # fmt: skip
        rest = _after(editor, made.producer(), "Sub", [rest, made])
        place = rest.producer() or node
        names.append(str(made.name))
    return [str(rest.name), *names]


def _after(
    editor: GraphEditor,
    place: ir.Node | None,
    op_type: str,
    inputs: list[ir.Value | None],
    axis: int | None = None,
) -> ir.Value:
    return editor.node(
        op_type, inputs, stem=op_type.lower(), dtype=ir.DataType.FLOAT, shape=None,
        attributes={} if axis is None else {"axis": axis}, after=place,
    )  # fmt: skip
