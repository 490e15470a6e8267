"""Operators that move codes about: the same node, on codes.

With channels last where the axes can be renamed, else with channels second. What a node needs to
know beside the codes are integers too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import shape_of, weight_of
from onnxq.graph.roles import attribute
from onnxq.passes.lower.integer.scope import PLANAR, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Other = ir.Value | npt.NDArray[Any] | None
    Parts = tuple[list[Other], dict[str, Any]]

__all__ = ["HANDLERS"]

_FROM_LAST = (0, 3, 1, 2)
_UINT8 = ir.DataType.UINT8


def _moved(scope: Scope) -> None:
    """Rank 4 before and behind, channels last: axes are renamed; else the plain layout."""
    source = scope.node.inputs[0]
    planar = len(shape_of(source) or ()) == PLANAR
    if planar and scope.prefers_last(source):
        if scope.node.op_type == "Transpose":
            _transposed(scope)
            return
        renamed = _RENAMED.get(scope.node.op_type)
        inputs = None if renamed is None else renamed(scope.node)
        if inputs is not None:
            _emit(scope, inputs[0], inputs[1], last=True)
            return
    attributes = {name: found.value for name, found in scope.node.attributes.items()}
    _emit(scope, list(scope.node.inputs[1:]), attributes, last=False)


def _emit(
    scope: Scope,
    others: list[Other],
    attributes: dict[str, Any],
    *,
    last: bool,
) -> None:
    node = scope.node
    codes = scope.read(0, last=last)
    inputs = [
        scope.constant(f"{node.op_type}_input", other, other.dtype.type)
        if isinstance(other, np.ndarray)
        else other
        for other in others
    ]
    outputs = [
        ir.Value(name=scope.editor.fresh(f"{out.name}_quantized"), type=ir.TensorType(_UINT8))
        for out in node.outputs
    ]
    made = ir.node(
        node.op_type,
        [codes.value, *inputs],
        attributes,
        outputs=outputs,
        name=scope.editor.fresh(f"{node.name}_codes"),
    )
    scope.editor.graph.insert_before(node, made)
    for out, moved in zip(node.outputs, outputs, strict=True):
        scope.write(out, moved, last=last)


def _transposed(scope: Scope) -> None:
    node = scope.node
    perm = [int(axis) for axis in attribute(node, "perm", (3, 2, 1, 0))]
    codes = scope.read(0, last=True)
    out = node.outputs[0]
    moved = scope.transposed(
        codes.value, [_FROM_LAST[axis] for axis in perm], f"{out.name}_quantized"
    )
    scope.write(out, moved)


def _pad(scope: Scope) -> None:
    """Pads with the code of the constant, which is the zero point where that is 0."""
    node = scope.node
    source, out = node.inputs[0], node.outputs[0]
    around = weight_of(node.inputs[1])
    if around is None or len(node.inputs) > 3:
        raise scope.refusal("its pads are no constant for all axes")
    given = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
    last = around.size == 2 * PLANAR and scope.prefers_last(source)
    codes = scope.read(0, last=last)
    pads = np.asarray(around, np.int64).reshape(2, -1)
    if last:
        pads = pads[:, [0, 2, 3, 1]]
    level = 0.0 if given is None or not given.size else float(given.reshape(-1)[0])
    code = np.clip(np.rint(level / codes.scale) + codes.zero, *codes.limits)
    inputs = [
        codes.value,
        scope.constant("pads", pads.reshape(-1), np.int64),
        scope.constant("fill", code, np.uint8),
    ]
    attributes = {"mode": attribute(node, "mode", "constant")}
    scope.write(
        out, scope.op("Pad", inputs, _UINT8, f"{out.name}_quantized", attributes), last=last
    )


def _renamed_axis(node: ir.Node) -> Parts | None:
    attributes = {name: found.value for name, found in node.attributes.items()}
    attributes["axis"] = _FROM_LAST[int(attribute(node, "axis", 0)) % PLANAR]
    return list(node.inputs[1:]), attributes


def _renamed_slice(node: ir.Node) -> Parts | None:
    axes = weight_of(node.inputs[3]) if len(node.inputs) > 3 else None
    if axes is None:
        return None
    others: list[Other] = list(node.inputs[1:])
    others[2] = np.array([_FROM_LAST[int(axis) % PLANAR] for axis in axes], np.int64)
    return others, {}


_RENAMED: dict[str, Callable[[ir.Node], Parts | None]] = {
    "Split": _renamed_axis,
    "Slice": _renamed_slice,
}

HANDLERS = dict.fromkeys(
    (
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ),
    _moved,
)
HANDLERS["Pad"] = _pad
