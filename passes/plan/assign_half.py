"""Decides which nodes compute in half precision, and which have to stay float32.

Half precision holds numbers up to 65504, and below 6·10⁻⁵ fewer and fewer bits of them. What comes
out of range becomes infinite, and everything behind it with it. So a node stays float32 where

    max |x|  >  65504 / 2        over the samples, of any value that it reads or writes,

which leaves other samples room, and where its own constants lose more than 2⁻⁸ of their size,

    ‖w - half(w)‖ > 2⁻⁸ ‖w‖      (half(w) itself is within 2⁻¹¹ of a w in range).
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.half import HALF_MOST, half_places
from onnxq.graph.query import weight_of
from onnxq.graph.roles import is_activation
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.note import Note, NoteKind

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["AssignHalf"]

_ROOM = 2.0
_LOST = 2.0**-8
_WORTHWHILE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Softmax", "LayerNormalization")


@dataclass(frozen=True)
class AssignHalf(PlanPass):
    """Chooses the nodes that compute in half precision.

    1. Nodes that run on integers are left alone.
    2. ONNX must know the operator in half precision (``onnxq.graph.half``).
    3. Nothing that the node reads or writes exceeds half of 65504 on the samples.
    4. Its constants keep all but 2⁻⁸ of their size.
    5. What ``keep_float`` names stays float32.
    6. Between integers, a part without a matrix product, Softmax or LayerNormalization stays
       float32: its conversions would cost more than it saves.

    Attributes:
        keep_float: Patterns (as in fnmatch) of node names that stay float32.
    """

    name = "assign-half"

    keep_float: tuple[str, ...] = ()

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the nodes in half precision; a reason for each of the others."""
        opset = int(context.model.graph.opset_imports[""])
        able: dict[str, ir.Node] = {}
        reasons: dict[str, str] = {}
        for node in context.model.graph:
            name = str(node.name)
            if plan.values and name not in plan.float_nodes:
                continue
            reason = self._reason(node, opset, context)
            if reason is None:
                able[name] = node
            elif reason:
                reasons[name] = reason
        if plan.values:
            able, alone = _parts(able)
            reasons |= dict.fromkeys(alone, "no product near: conversions would cost more")
        notes = [Note(NoteKind.REFUSED, self.name, name, why) for name, why in reasons.items()]
        told = {**reasons, **plan.float_nodes} if plan.values else reasons
        return replace(plan, half=frozenset(able), float_nodes=told).with_notes(notes)

    def _reason(self, node: ir.Node, opset: int, context: PlanContext) -> str | None:
        """Returns why a node stays float32; "" where it makes no floats, None where it need not."""
        if not any(is_activation(value) for value in node.outputs):
            return ""
        places = half_places(node, opset)
        if places is None:
            return f"{node.op_type} has no half precision"
        if not places.inputs or not places.outputs:
            return ""
        if any(fnmatch.fnmatchcase(str(node.name), pattern) for pattern in self.keep_float):
            return "asked for by --keep-float"
        read = [node.inputs[i] for i in places.inputs]
        for value in (*read, *(node.outputs[i] for i in places.outputs)):
            if value is not None and (why := _out_of_range(value, context)):
                return why
        return None


def _out_of_range(value: ir.Value, context: PlanContext) -> str | None:
    """Rules 3 and 4."""
    weight = weight_of(value)
    if weight is not None:
        return None if _fits(weight) else f"'{value.name}' loses too much in half precision"
    stats = context.stats
    if stats is None or str(value.name) not in stats:
        return None
    found = stats[str(value.name)]
    most = max(abs(float(found.minimum)), abs(float(found.maximum)))
    if most * _ROOM <= HALF_MOST:
        return None
    return f"'{value.name}' reaches {most:.3g}, half precision ends at {HALF_MOST:.0f}"


def _fits(weight: npt.NDArray[Any]) -> bool:
    if weight.dtype != np.float32 or not weight.size:
        return True
    if not np.abs(weight).max() <= HALF_MOST:
        return False
    exact = weight.astype(np.float64)
    lost = exact - weight.astype(np.float16).astype(np.float64)
    return bool(np.square(lost).sum() <= _LOST**2 * np.square(exact).sum())


def _parts(able: dict[str, ir.Node]) -> tuple[dict[str, ir.Node], list[str]]:
    """Rule 6: returns the nodes of the parts that are worth it, and the names of the others."""
    kept: dict[str, ir.Node] = {}
    seen: set[str] = set()
    for name in able:
        if name in seen:
            continue
        part, open_names = {name}, [name]
        while open_names:
            node = able[open_names.pop()]
            near = [v.producer() for v in node.inputs if v is not None]
            near += [user for out in node.outputs for user in out.consumers()]
            names = {str(other.name) for other in near if other is not None} & set(able)
            open_names += sorted(names - part)
            part |= names
        seen |= part
        if any(able[member].op_type in _WORTHWHILE for member in part):
            kept |= {member: able[member] for member in sorted(part)}
    return kept, [name for name in able if name not in kept]
