"""Scales of activations that gradient descent moves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.numerics.learned import LearnedScale
from onnxq.plan.quant_plan import Use
from onnxq.plan.spec import PerTensor, QParams
from onnxq.search.learned_layer import bias_floor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.learned import Learned
    from onnxq.numerics.statistics import Stats
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = ["ScaleOfValues", "learned_scales"]

_BOUNDS = (0.5, 1.5)


class ScaleOfValues(NamedTuple):
    """One scale.

    Attributes:
        values: Names of the values of the float model that have it.
        names: Of the initializers of the quantized model that hold it.
        part: What moves.
    """

    values: tuple[str, ...]
    names: tuple[str, ...]
    part: LearnedScale

    @property
    def moving(self) -> list[tuple[tuple[str, ...], Learned]]:
        """(names of initializers, what moves)."""
        return [(self.names, self.part)]

    def taken(self, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with what was learned."""
        changed = {}
        for name in self.values:
            planned = plan.values[name]
            assert planned.params is not None
            params = QParams(self.part.value(), planned.params.zero_point, "learned")
            changed[name] = replace(planned, params=params)
        return plan.with_values(changed)


def learned_scales(
    nodes: Iterable[ir.Node],
    params: Mapping[str, npt.NDArray[np.generic]],
    model: ir.Model,
    plan: QuantPlan,
    stats: Stats | None,
) -> list[ScaleOfValues]:
    """Returns the scales that a block of the quantized model alone decides.

    1. One scale holds for a whole value, and for all that share params with it.
    2. A range grows to what was seen, at most: what bounds the float value, such as a Clip, may be
       left to its codes. It falls to half, at most, and not so far that a bias no longer fits.

    Args:
        nodes: Of the block.
        params: The named params of the quantized model.
        model: The float model.
        plan: Of its values.
        stats: Of its values.
    """
    written = _written(nodes, params, model, plan)
    found: list[ScaleOfValues] = []
    seen: set[str] = set()
    for value in written:
        group = plan.group_of(value)
        if value in seen or not group <= written.keys():
            continue
        seen |= group
        members = tuple(sorted(group))
        planned = plan.values[value]
        assert planned.params is not None
        low = max(_BOUNDS[0], *(_floor(model, plan, name) for name in members))
        high = min(_BOUNDS[1], max(_growth(plan.values[m], m, stats) for m in members))
        if low < high:
            start = np.asarray(planned.params.scale, np.float32)
            part = LearnedScale(start, (low, high))
            found.append(ScaleOfValues(members, tuple(written[m] for m in members), part))
    return found


def _written(
    nodes: Iterable[ir.Node],
    params: Mapping[str, npt.NDArray[np.generic]],
    model: ir.Model,
    plan: QuantPlan,
) -> dict[str, str]:
    """Returns value → name of its scale, for values with one scale."""
    behind = {
        str(node.inputs[0].name): str(node.outputs[0].name)
        for node in model.graph
        if node.op_type == "Clip" and node.inputs[0] is not None
    }
    found = {}
    for node in nodes:
        if node.op_type != "QuantizeLinear" or str(node.inputs[1].name) not in params:  # type: ignore[union-attr]
            continue
        source, scale = str(node.inputs[0].name), str(node.inputs[1].name)  # type: ignore[union-attr]
        value = source if source in plan.values else behind.get(source, source)
        planned = plan.values.get(value)
        if planned is None or planned.params is None:
            continue
        one = isinstance(planned.spec.granularity, PerTensor)
        if one and np.array_equal(params[scale], planned.params.scale):
            found[value] = scale
    return found


def _growth(planned: ValuePlan, name: str, stats: Stats | None) -> float:
    """Returns by what the range may be multiplied to hold all that was seen, 1 or more."""
    if stats is None or name not in stats or planned.params is None:
        return 1.0
    dtype, zero = planned.spec.dtype, int(planned.params.zero_point)
    scale = float(planned.params.scale)
    above, below = (dtype.qmax - zero) * scale, (dtype.qmin - zero) * scale
    shares = [stats[name].maximum / above] if above > 0 else []
    shares += [stats[name].minimum / below] if below < 0 else []
    return max(1.0, *shares)


def _floor(model: ir.Model, plan: QuantPlan, name: str) -> float:
    """Returns by what the scale may be multiplied at least, lest a bias of a reader no longer fits.

    It may fall as far as its share of what the weights' scales have left.
    """
    least = 0.0
    for node in model.graph:
        if not node.inputs or node.inputs[0] is None or node.inputs[0].name != name:
            continue
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        planned = None if weight is None else plan.of(str(weight.name), Use(str(node.name), 1))
        floor = bias_floor(node, plan.values[name])
        if planned is not None and planned.params is not None and floor is not None:
            least = max(least, float((floor / planned.params.scale).max()))
    return least
