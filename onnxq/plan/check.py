"""Whether a plan fits its model and its target, before anything is made from it."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.errors import PlanError
from onnxq.graph.query import heavy, shape_of
from onnxq.graph.roles import is_constant, output_channels
from onnxq.plan.check_clusters import cluster_violations
from onnxq.plan.check_nodes import node_violations
from onnxq.plan.spec import PerAxis, PerBlock
from onnxq.plan.weight_codes import code_limits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan
    from onnxq.plan.spec import QParams, QuantSpec
    from onnxq.plan.target import Target

    Shapes = Mapping[str, tuple[int, ...]]

__all__ = ["check_plan", "violations"]


def check_plan(
    plan: QuantPlan, model: ir.Model, target: Target, shapes: Shapes | None = None
) -> None:
    """Raises PlanError with the first of :func:`violations` and the number of the others."""
    if found := violations(plan, model, target, shapes):
        rest = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise PlanError(f"the plan does not fit: {found[0]}{rest}")


def violations(
    plan: QuantPlan, model: ir.Model, target: Target, shapes: Shapes | None = None
) -> list[str]:
    """Lists what is wrong with ``plan``, each in one line.

    1. Values, uses and nodes that it names are in the model; planned values are float.
    2. Every planned value has params of the shape that granularity and value ask for.
    3. Types are the target's or narrower; zero points and codes lie in their range.
    4. Members of a group share params.
    5. A bias shift has one finite number per output channel of a heavy node.
    6. What clusters ask for: :func:`onnxq.plan.check_clusters.cluster_violations`, asked only if
       all before is right.
    7. What the nodes ask for: :func:`onnxq.plan.check_nodes.node_violations`, asked only if all
       else is right.

    Args:
        plan: What to check.
        model: The float model, as the plan passes saw it.
        target: What the quantized model will run on.
        shapes: Value name → the shape that one sample gave it, where known.
    """
    names = _Names(model)
    found = [
        *_missing(plan, names),
        *(line for site in _sites(plan, names) for line in _of_site(*site, target, shapes or {})),
        *_groups(plan),
        *_shifts(plan, names),
    ]
    found = found or list(cluster_violations(plan, names.values, target))
    return found or list(node_violations(plan, model, target))


class _Names:
    """What a plan may name in a model."""

    def __init__(self, model: ir.Model) -> None:
        graph = model.graph
        every = [*graph.inputs, *graph.initializers.values()]
        every += [out for node in graph for out in node.outputs]
        self.values = {str(value.name): value for value in every}
        self.nodes = {str(node.name): node for node in graph}


def _lost(what: str, name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else "remove it from the plan"
    return f"the model has no {what} '{name}'; {hint}"


def _missing(plan: QuantPlan, names: _Names) -> Iterator[str]:
    """Rule 1."""
    members = (name for group in plan.groups for name in sorted(group))
    for name in dict.fromkeys((*plan.values, *members)):
        if name not in names.values:
            yield _lost("value", name, names.values)
    used = (use.node for use in plan.uses)
    for name in dict.fromkeys((*used, *plan.bias_shift, *plan.float_nodes, *sorted(plan.half))):
        if name not in names.nodes:
            yield _lost("node", name, names.nodes)
    for use in plan.uses:
        if (node := names.nodes.get(use.node)) is None:
            continue
        if use.position >= len(node.inputs) or node.inputs[use.position] is None:
            yield f"use '{use.node}:{use.position}': the node has no such input; remove it"


def _sites(plan: QuantPlan, names: _Names) -> Iterator[tuple[str, ir.Value, ValuePlan]]:
    """Yields what is planned, with the label by which messages call it."""
    for name, planned in plan.values.items():
        if name in names.values:
            yield f"value '{name}'", names.values[name], planned
    for use, planned in plan.uses.items():
        node = names.nodes.get(use.node)
        value = node.inputs[use.position] if node and use.position < len(node.inputs) else None
        if value is not None:
            yield f"use '{use.node}:{use.position}'", value, planned


def _of_site(
    label: str, value: ir.Value, planned: ValuePlan, target: Target, shapes: Shapes
) -> Iterator[str]:
    """Rules 1 to 3 for one value or use."""
    if value.dtype not in (None, ir.DataType.FLOAT):
        yield f"{label}: its type is {value.dtype}, and only FLOAT can be quantized; remove it"
        return
    shape = _shape(value, shapes)
    found = [*_types(value, planned.spec, target), *_levels(value, planned)]
    found += _codes(value, planned, shape)
    if planned.params is None:
        found.append("it has no scale; give one, or remove it to leave the value float")
    else:
        found += [*_params(planned.spec, planned.params, shape)]
    yield from (f"{label}: {text}" for text in found)


def _shape(value: ir.Value, shapes: Shapes) -> tuple[int | None, ...] | None:
    if value.const_value is not None:
        return tuple(value.const_value.shape.numpy())
    return shapes.get(str(value.name)) or shape_of(value)


def _types(value: ir.Value, spec: QuantSpec, target: Target) -> Iterator[str]:
    is_weight = is_constant(value) and any(
        index == 1 and heavy(user) for user, index in value.uses()
    )
    wanted = target.weight if is_weight else target.activation
    kind = "weights" if is_weight else "values"
    if spec.dtype.signed != wanted.signed or spec.dtype.bits > wanted.bits:
        yield f"{target.name} stores {kind} as {wanted} or narrower, not {spec.dtype}"
    elif (is_weight or target.symmetric) and not spec.symmetric:
        yield f"{target.name} wants symmetric {kind}; set 'symmetric' to true"
    elif not (is_weight or target.channel_activations) and spec.axis is not None:
        yield f"{target.name} has one scale per value; set 'granularity' to \"tensor\""


def _codes(
    value: ir.Value, planned: ValuePlan, shape: tuple[int | None, ...] | None
) -> Iterator[str]:
    codes = planned.codes
    if codes is None:
        return
    low, high = code_limits(planned.spec)
    if not is_constant(value):
        yield "only weights can have codes; remove them"
    elif codes.shape != shape:
        yield f"its codes have shape {list(codes.shape)}, the weight {_text(shape)}; remove them"
    elif codes.min(initial=0) < low or codes.max(initial=0) > high:
        yield (
            f"its codes reach from {codes.min()} to {codes.max()}, outside [{low}, {high}]; "
            "remove them to round the weight anew"
        )
    elif planned.levels is not None and not np.isin(codes, planned.levels).all():
        yield "some of its codes are not among its levels; remove its codes to round it anew"


def _levels(value: ir.Value, planned: ValuePlan) -> Iterator[str]:
    if planned.levels is None:
        return
    low, high = code_limits(planned.spec)
    if not is_constant(value):
        yield "only weights can have levels; remove them"
    elif not low <= planned.levels[0] < planned.levels[-1] <= high:
        yield f"its levels reach outside [{low}, {high}]; remove them to use all codes"
    elif isinstance(planned.spec.granularity, PerBlock):
        yield "a weight with a scale per block cannot have levels; remove them"


def _text(shape: tuple[int | None, ...] | None) -> str:
    return "unknown" if shape is None else str(list(shape))


def _params(
    spec: QuantSpec, params: QParams, shape: tuple[int | None, ...] | None
) -> Iterator[str]:
    """Rules 2 and 3."""
    fault = _shape_fault(spec, params.scale.shape, shape)
    if fault is not None:
        yield fault
    dtype, zeros = spec.dtype, params.zero_point
    if zeros.min(initial=0) < dtype.qmin or zeros.max(initial=0) > dtype.qmax:
        worst = zeros.min() if zeros.min() < dtype.qmin else zeros.max()
        yield f"zero point {worst} is outside {dtype}, [{dtype.qmin}, {dtype.qmax}]; change it"
    elif spec.symmetric and (zeros != dtype.middle).any():
        wrong = zeros[zeros != dtype.middle].flat[0]
        yield f"its zero point must be {dtype.middle}, because it is symmetric, and is {wrong}"


def _shape_fault(
    spec: QuantSpec, given: tuple[int, ...], shape: tuple[int | None, ...] | None
) -> str | None:
    granularity = spec.granularity
    if not isinstance(granularity, PerAxis | PerBlock):
        return None if not given else f"one scale is asked for, and {math.prod(given)} are there"
    axis = granularity.axis
    if shape is not None and not 0 <= axis < len(shape):
        return f"axis {axis} does not exist in shape {_text(shape)}; choose another"
    if isinstance(granularity, PerBlock):
        return None if shape is None else _block_fault(granularity, given, shape)
    wanted = None if shape is None else shape[axis]
    if len(given) != 1:
        return f"a scale along axis {axis} has one dimension, not {len(given)}"
    if wanted not in (None, given[0]):
        return f"there are {given[0]} scales for the {wanted} channels of axis {axis}"
    return None


def _block_fault(
    granularity: PerBlock, given: tuple[int, ...], shape: tuple[int | None, ...]
) -> str | None:
    blocked = [
        dim if i != granularity.axis or dim is None else -(-dim // granularity.size)
        for i, dim in enumerate(shape)
    ]
    fits = len(given) == len(blocked) and all(
        dim in (None, size) for dim, size in zip(blocked, given, strict=True)
    )
    return None if fits else f"its scale has shape {list(given)} where blocks ask for {blocked}"


def _groups(plan: QuantPlan) -> Iterator[str]:
    """Rule 4."""
    for group in plan.groups:
        members = [name for name in sorted(group) if name in plan.values]
        if members and len(members) < len(group):
            loose = next(name for name in sorted(group) if name not in plan.values)
            yield f"value '{loose}' is float but '{members[0]}' of its group is planned; plan both"
        fitted = [name for name in members if plan.values[name].params is not None]
        for name in fitted[1:]:
            first, other = plan.values[fitted[0]], plan.values[name]
            assert first.params is not None
            assert other.params is not None
            if first.spec.dtype != other.spec.dtype or not first.params.same_as(other.params):
                yield (
                    f"values '{fitted[0]}' and '{name}' are in one group and must have the same "
                    "dtype, scale and zero point; copy those of one to the other"
                )


def _shifts(plan: QuantPlan, names: _Names) -> Iterator[str]:
    """Rule 5."""
    for name, shift in plan.bias_shift.items():
        if (node := names.nodes.get(name)) is None:
            continue
        if not heavy(node):
            yield f"bias shift of '{name}': {node.op_type} has no weight; remove it"
            continue
        channels = output_channels(node)
        if shift.shape != (channels,):
            yield f"bias shift of '{name}': {shift.size} numbers for {channels} channels"
        elif not np.isfinite(shift).all():
            yield f"bias shift of '{name}': holds a number that is not finite"
