"""Gives the inputs and the output of a Concat one scale and zero point, where that costs nothing.

With shared params a Concat of codes is a plain copy; with different ones every element is rescaled
and rounded a second time. A Concat is joined when

1. all its inputs and its output are planned with one scale each;
2. every input that something else reads too has at least half the range of all together, so that
   no reader loses more than one bit; inputs that only Concats read are rounded to the output's
   scale anyway;
3. the joint range stays within the bounds of every absorbed Relu or Clip: the operator vanishes
   only into a quantization that saturates where it does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.groups import merge_groups
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.obstacles import clip_bounds
from onnxq.plan.spec import PerTensor

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.numerics.statistics import Stats
    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["ShareParams"]

_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class ShareParams(PlanPass):
    """Joins the params of Concats on integers into groups."""

    name = "share-params"
    after = frozenset({"leave-unseen"})

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the groups of Concats united, in graph order."""
        assert context.stats is not None, "the pipeline shares params only where there is data"
        groups = list(plan.groups)
        notes: list[Note] = []
        values = {str(out.name): out for node in context.model.graph for out in node.outputs}
        values |= {str(value.name): value for value in context.model.graph.inputs}
        for node in context.model.graph:
            if node.op_type != "Concat" or str(node.name) in plan.float_nodes:
                continue
            touched = [str(value.name) for value in (*node.inputs, *node.outputs) if value]
            joint = frozenset(touched).union(*(g for g in groups if g & set(touched)))
            reason = _obstacle(
                plan, [values[n] for n in sorted(joint) if n in values], context.stats
            )
            if reason is None:
                groups = merge_groups([*groups, joint])
            kind = NoteKind.FIRED if reason is None else NoteKind.REFUSED
            text = f"{len(joint)} values share params" if reason is None else reason
            notes.append(Note(kind, self.name, str(node.name), text))
        return replace(plan, groups=tuple(groups), notes=(*plan.notes, *notes))


def _obstacle(plan: QuantPlan, members: list[ir.Value], stats: Stats) -> str | None:
    """Returns which rule keeps ``members`` from sharing params; None if none does."""
    for value in members:
        planned = plan.values.get(str(value.name))
        if planned is None or not isinstance(planned.spec.granularity, PerTensor):
            return f"'{value.name}' is not quantized with one scale"
        if str(value.name) not in stats:
            return f"'{value.name}' has no statistics"
    ranges = {str(value.name): _range(stats, str(value.name)) for value in members}
    low = min(r[0] for r in ranges.values())
    high = max(r[1] for r in ranges.values())
    for value in members:
        own = ranges[str(value.name)]
        producer = value.producer()
        if producer is not None and producer.op_type in ("Relu", "Clip"):
            bounds = clip_bounds(producer)
            if low < bounds[0] or high > bounds[1]:
                return f"'{value.name}' is bounded to {bounds[0]:g} … {bounds[1]:g}"
        narrow = own[1] - own[0] < _LEAST_SHARE * (high - low)
        others = value.is_graph_output() or any(u.op_type != "Concat" for u in value.consumers())
        if narrow and others:
            return f"'{value.name}' would keep less than half of its codes"
    return None


def _range(stats: Stats, name: str) -> tuple[float, float]:
    return min(stats[name].minimum, 0.0), max(stats[name].maximum, 0.0)
