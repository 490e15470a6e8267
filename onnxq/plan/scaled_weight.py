"""Weights of nodes that compute in float, stored as integers: ``Cast(codes) · scale``.

onnxruntime computes that once, as it loads the model: small file, float speed. Codes of few bits
are packed (``onnxq.graph.packed``). Blocks of b weights that share a scale are an axis of their
own, [K / b, b, N]; a Reshape to [K, N] ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.bias import add_to_bias, takes_shift
from onnxq.graph.packed import looked_up, packed_codes
from onnxq.graph.query import weight_of
from onnxq.plan.quant_plan import Use
from onnxq.plan.spec import PerBlock, PerTensor
from onnxq.plan.weight_codes import weight_codes

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from onnxq.graph.qdq import GraphEditor
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = [
    "scaled_weight",
    "stored_zero_point",
    "write_float_layers",
]

# Operator → what its second input is called.
_OPERANDS = {"Sub": "zero_point", "Mul": "scale", "Reshape": "shape"}


def write_float_layers(editor: GraphEditor, nodes: Iterable[ir.Node], plan: QuantPlan) -> None:
    """Gives float nodes the weights that ``plan`` has for their uses alone, and its bias shifts.

    Args:
        editor: Of the nodes' graph, whose weights still have the names that the plan knows.
        nodes: Those whose inputs may be replaced, in the order of the graph.
        plan: With params.
    """
    made: dict[tuple[str, int], ir.Value] = {}
    for node in nodes:
        if str(node.name) not in plan.float_nodes:
            continue
        for position, value in enumerate(node.inputs):
            planned = plan.uses.get(Use(str(node.name), position))
            if value is None or planned is None or weight_of(value) is None:
                continue
            key = (str(value.name), id(planned))
            if key not in made:
                made[key] = scaled_weight(editor, value, planned, before=node)
            node.replace_input_with(position, made[key])
        shift = plan.bias_shift.get(str(node.name))
        if shift is not None and takes_shift(node):
            add_to_bias(editor, node, shift)


def scaled_weight(
    editor: GraphEditor, value: ir.Value, plan: ValuePlan, before: ir.Node
) -> ir.Value:
    """Returns the reals of a weight, computed in front of ``before`` from its codes.

    Args:
        editor: Of the graph.
        value: A weight, float32.
        plan: With params; blocks divide the axis that they run along.
        before: A node that reads them.
    """
    weight = weight_of(value)
    assert weight is not None, "only weights are stored"
    assert plan.params is not None, "the check stage refuses plans without params"
    codes = weight_codes(np.asarray(weight, np.float32), plan)
    name, whole, cut = str(value.name), codes.shape, _cut(codes.shape, plan)
    reals, steps = _start(editor, f"{name}_codes", codes.reshape(cut), plan, before)
    if stored_zero_point(plan) is not None:
        zeros = plan.params.zero_point.astype(np.float32)
        steps.append(("Sub", _along(zeros, plan, len(whole))))
    steps.append(("Mul", _along(plan.params.scale, plan, len(whole))))
    if cut != whole:
        steps.append(("Reshape", np.array(whole, np.int64)))
    for op_type, operand in steps:
        stem, output = f"{name}_{_OPERANDS.get(op_type, '')}", f"{name}_{op_type.lower()}"
        inputs = [] if operand is None else [editor.constant(stem, operand)]
        reals = editor.node(
            op_type,
            [reals, *inputs],
            stem=f"{name}_dequantized" if op_type == steps[-1][0] else output,
            dtype=ir.DataType.FLOAT,
            shape=ir.Shape(whole if op_type == "Reshape" else cut),
            attributes={"to": int(ir.DataType.FLOAT)} if op_type == "Cast" else None,
            before=before,
        )
    return reals


def _start(
    editor: GraphEditor,
    stem: str,
    codes: npt.NDArray[np.integer],
    plan: ValuePlan,
    before: ir.Node,
) -> tuple[ir.Value, list[tuple[str, npt.NDArray[np.generic] | None]]]:
    """Returns the codes as they are stored, and what turns them into floats if they are not."""
    if plan.levels is not None:
        levels = plan.levels.astype(np.float32)
        return looked_up(editor, stem, codes, plan.bits, levels, before), []
    return packed_codes(editor, stem, codes, plan.bits), [("Cast", None)]


def stored_zero_point(plan: ValuePlan) -> npt.NDArray[np.integer] | None:
    """Returns the zero points in the codes' type, None where all are 0."""
    assert plan.params is not None, "the check stage refuses plans without params"
    zeros = plan.params.zero_point
    return zeros.astype(plan.spec.dtype.storage) if zeros.any() else None


def _cut(shape: tuple[int, ...], plan: ValuePlan) -> tuple[int, ...]:
    """Returns the shape in which blocks are an axis of their own, in front of what they hold."""
    blocks = plan.spec.granularity
    if not isinstance(blocks, PerBlock):
        return shape
    count = shape[blocks.axis] // blocks.size
    return (*shape[: blocks.axis], count, blocks.size, *shape[blocks.axis + 1 :])


def _along(params: npt.NDArray[np.float32], plan: ValuePlan, rank: int) -> npt.NDArray[np.float32]:
    """Returns params in the shape that broadcasts over the codes of a weight of that rank."""
    granularity = plan.spec.granularity
    if isinstance(granularity, PerTensor):
        return params
    if isinstance(granularity, PerBlock):
        return np.expand_dims(params, granularity.axis + 1)
    return params.reshape([-1 if i == granularity.axis else 1 for i in range(rank)])
