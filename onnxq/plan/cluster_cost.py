"""What it costs to take channels out of a value, by a target's times."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnxq.plan.cost import Work
from onnxq.plan.work import kernel_kind, work_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.plan.cost import CostTable

    Shapes = Mapping[str, tuple[int, ...]]

__all__ = ["lost_kernel", "part_time", "reader_times"]


def part_time(node: ir.Node, taken: int, size: int, costs: CostTable, shapes: Shapes) -> float:
    """Returns the µs that one more partial sum costs: its channels, its product and its Add.

    Args:
        node: The reader.
        taken: Channels of the part.
        size: Channels of the value.
        costs: Of the target.
        shapes: Value name → shape of one sample.
    """
    whole, share = work_of(node, shapes), taken / size
    source = node.inputs[0]
    assert source is not None
    picked = Work(outputs=math.prod(shapes.get(str(source.name), (0,))) * share)
    part = Work(whole.macs * share, whole.outputs, whole.patches * share)
    product, _ = costs.times(kernel_kind(node), part)
    added = costs.times("Add", Work(outputs=whole.outputs))[0 if node.op_type == "Conv" else 1]
    # a Gather moves what a Concat would
    gathered = costs.times("Concat", picked)[1]
    return product + added + gathered + costs.quantize.microseconds(picked)


def reader_times(node: ir.Node, costs: CostTable, shapes: Shapes) -> tuple[float, float]:
    """Returns the (integer, float) µs of the reader as a whole."""
    return costs.times(kernel_kind(node), work_of(node, shapes))


def lost_kernel(node: ir.Node, costs: CostTable, shapes: Shapes) -> float:
    """Returns the µs that it costs to run a node in float whose inputs are float anyway."""
    integer, real = reader_times(node, costs, shapes)
    written = Work(outputs=math.prod(shapes.get(str(node.outputs[0].name), (0,))))
    return real - integer + costs.quantize.microseconds(written)
