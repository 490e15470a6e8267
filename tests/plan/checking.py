"""Plans that fit their model, and edits that spoil them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import weight_of
from onnxq.graph.roles import is_constant
from onnxq.plan.channels import read_factors
from onnxq.plan.check import violations
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, PerTensor, QParams, QuantSpec
from onnxq.plan.target import load_target
from tests.passes.plan.planning import context_for, plan_for
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.spec import Granularity

    Edit = Callable[[QuantPlan], QuantPlan]

CPU = load_target("cpu")


def network() -> ir.Model:
    """Every rule has a place here.

    x → Conv c → Relu r → MaxPool p → Conv d → Clip k → Flatten f → Gemm g → MatMul m → Add y.
    """
    return build(
        """f (float[1,4,8,8] x, float[8,4,3,3] w, float[8] b, float[8,8,1,1] v, float lo, float hi,
              float[128,6] u, float[6] ub, float[6,5] s, float[5] sb) => (float[1,5] y) {
            c = Conv<pads = [1,1,1,1]>(x, w, b)
            r = Relu(c)
            p = MaxPool<kernel_shape = [2,2], strides = [2,2]>(r)
            d = Conv(p, v)
            k = Clip(d, lo, hi)
            f = Flatten(k)
            g = Gemm(f, u, ub)
            m = MatMul(g, s)
            y = Add(m, sb) }""",
        w=rng_weight(8, 4, 3, 3),
        b=rng_weight(8),
        v=rng_weight(8, 8, 1, 1),
        lo=np.float32(0),
        hi=np.float32(6),
        u=rng_weight(128, 6),
        ub=rng_weight(6),
        s=rng_weight(6, 5),
        sb=rng_weight(5),
    )


@cache
def fitting() -> tuple[PlanContext, QuantPlan]:
    """The network and the plan that the passes make for it."""
    context = context_for(network())
    return context, plan_for(context)


def found(edit: Edit) -> list[str]:
    """What is wrong once the plan has been edited."""
    context, plan = fitting()
    return violations(edit(plan), context.model, context.target, context.shapes)


def value(name: str, **changes: object) -> Edit:
    """Edits the plan of one value; fields of spec and params are found by name."""
    return lambda plan: plan.with_values({name: edited(plan.values[name], **changes)})


def edited(planned: ValuePlan, **changes: object) -> ValuePlan:
    of_spec = {k: v for k, v in changes.items() if k in ("dtype", "symmetric", "granularity")}
    of_params = {k: v for k, v in changes.items() if k in ("scale", "zero_point")}
    codes = changes.get("codes", planned.codes)
    levels = changes.get("levels", planned.levels)
    params = None if "params" in changes else planned.params
    if of_params:
        assert params is not None
        params = replace(params, **of_params)  # type: ignore[arg-type]
    spec = replace(planned.spec, **of_spec)  # type: ignore[arg-type]
    return ValuePlan(spec, params, codes, levels)  # type: ignore[arg-type]


def use(node: str, position: int, name: str, **changes: object) -> Edit:
    return lambda plan: with_use(plan, node, position, edited(plan.values[name], **changes))


def with_use(plan: QuantPlan, node: str, position: int, planned: ValuePlan) -> QuantPlan:
    """Returns the plan with another one for the edge into that input of that node alone."""
    return replace(plan, uses={**plan.uses, Use(node, position): planned})


def field(**changes: object) -> Edit:
    return lambda plan: replace(plan, **changes)  # type: ignore[arg-type]


def scales(*numbers: float) -> npt.NDArray[np.float32]:
    return np.array(numbers, np.float32)


def zeros(*shape: int) -> npt.NDArray[np.int32]:
    return np.zeros(shape, np.int32)


def planned(
    dtype: str = "uint8",
    granularity: Granularity | None = None,
    scale: npt.ArrayLike = 0.1,
    zero_point: npt.ArrayLike = 0,
) -> ValuePlan:
    kind = IntType.parse(dtype)
    params = QParams(np.asarray(scale, np.float32), np.asarray(zero_point))
    return ValuePlan(QuantSpec(kind, kind.signed, granularity or PerTensor()), params)


ONE = planned()


def channelwise(tail: str, **weights: npt.ArrayLike) -> ir.Model:
    """c is written by a convolution; ``tail`` makes y of it."""
    dims = {name: ",".join(map(str, np.shape(data))) for name, data in weights.items()}
    declared = "".join(f", float[{dims[name]}] {name}" for name in weights)
    return build(
        f"""f (float[1,2,8,8] x, float[4,2,1,1] w, float[4] b{declared}) => (float[1,4,M,N] y) {{
            c = Conv(x, w, b) {tail} }}""",
        w=rng_weight(4, 2, 1, 1),
        b=rng_weight(4),
        **weights,
    )


def channel_plan(source: ir.Model, name: str = "c", zero_point: npt.ArrayLike = 0) -> QuantPlan:
    """Everything is planned; ``name`` has a scale per channel, for which weights have codes."""
    values = [*source.graph.inputs, *source.graph.initializers.values()]
    values += [out for node in source.graph for out in node.outputs]
    each = np.broadcast_to(np.asarray(zero_point), 4)
    channels = planned("uint8", PerAxis(1), [0.1, 0.2, 0.4, 0.8], each)
    plans = {
        str(v.name): planned("int8") if is_constant(v) else ONE for v in values if v.name != "b"
    }
    for node in source.graph:
        weight = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
        if weight is None or node.inputs[0] is None or node.inputs[0].name != name:
            continue
        factors = read_factors(node, channels)
        if factors is not None and weight.shape[1] in (1, 4):
            codes = np.rint(weight * factors / 0.1)
            w = str(node.inputs[1].name)  # type: ignore[union-attr]
            plans[w] = replace(plans[w], codes=np.asarray(codes, np.int32))
    return QuantPlan({**plans, name: channels})
