"""Codes of fewer than eight bits: stored in eight, clipped on integers."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.narrow_activations import NarrowActivations
from onnxq.passes.plan.share_params import ShareParams
from onnxq.plan.check import violations
from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, QParams, QuantSpec
from tests.numerics.rounding import fake_quantize
from tests.passes.lower.optimized import (
    assert_runs_alike,
    between_convs,
    lowered,
    optimized_ops,
    quantized,
)
from tests.passes.plan.planning import context_for, eager_target
from tests.passes.rewrite.building import build
from tests.support import run


@pytest.mark.parametrize("name", ["uint2", "uint3", "uint4", "uint7", "int4", "int6"])
@pytest.mark.parametrize("level", ["off", "all"])
def test_narrow_codes_saturate_at_their_own_bounds(name: str, level: str) -> None:
    dtype = IntType.parse(name)
    params = QParams(np.asarray(0.5, np.float32), np.asarray(dtype.qmin + 1))
    plan = ValuePlan(QuantSpec(dtype, symmetric=False), params)
    source = build("f (float[1,99] x) => (float[1,99] y) { y = Neg(x) }")
    made = lowered(source, QuantPlan({"x": plan}))
    x = np.linspace(-80, 80, 99, dtype=np.float32)[None]
    limits = dtype.qmin, dtype.qmax
    wanted = -fake_quantize(x, params.scale, params.zero_point, limits)
    np.testing.assert_array_equal(run(made, {"x": x}, level)["y"], wanted)  # type: ignore[arg-type]


def test_storage_is_eight_bits_with_an_integer_clip() -> None:
    made = quantized(
        between_convs("r = Relu(c)"), target=eager_target("uint4"), tolerance=0.5
    ).model
    stored = {n.outputs[0].dtype.name for n in made.graph if n.op_type == "QuantizeLinear"}  # type: ignore[union-attr]
    clipped = {n.outputs[0].dtype.name for n in made.graph if n.op_type == "Clip"}  # type: ignore[union-attr]
    assert stored == clipped == {"UINT8"}


@pytest.mark.parametrize(
    "middle",
    ["r = Relu(c)", "r = Clip(c, low, high)", "r = LeakyRelu(c)", "d = LeakyRelu(c) r = Add(c, d)"],
    ids=["relu", "relu6", "leaky-relu", "residual"],
)
def test_convolutions_on_narrow_codes_run_on_integers(middle: str) -> None:
    source = between_convs(middle, values="float low, float high", low=0.0, high=6.0)
    ops = quantized(source, target=eager_target("uint4"), tolerance=0.5, layers=3).ops
    assert ops["QLinearConv"] == 2
    assert ops["Conv"] + ops["FusedConv"] == 0


def test_silu_on_narrow_codes_is_not_cut_off() -> None:
    source = between_convs("g = Sigmoid(c) r = Mul(c, g)")
    quantized(source, target=eager_target("uint4"), tolerance=0.5, layers=4)


MIXED = {
    "relu": "r = Relu(c)",
    "relu6": "r = Clip(c, low, high)",
    "leaky-relu": "r = LeakyRelu(c)",
    "silu": "g = Sigmoid(c) r = Mul(c, g)",
    "hard-swish": "r = HardSwish(c)",
    "residual": "d = LeakyRelu(c) r = Add(c, d)",
    "pool": "d = Relu(c) r = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(d)",
    "resize": 'd = Relu(c) r = Resize<mode = "nearest">(d, , twice)',
    "concat": "d = LeakyRelu(c) e = Relu(c) r = Concat<axis = 1>(d, e)",
    "gate": "p = GlobalAveragePool(c) g = Sigmoid(p) r = Mul(c, g)",
}


@pytest.mark.parametrize("middle", MIXED.values(), ids=list(MIXED))
@pytest.mark.parametrize("per_channel", [False, True], ids=["one scale", "scales"])
def test_four_bits_between_eight_run_on_integers(middle: str, per_channel: bool) -> None:
    """The convolutions' inputs hold 4 bits, all that functions and sums read holds 8."""
    source = between_convs(
        middle,
        channels=12 if "Concat" in middle else 6,
        values="float low, float high, float[4] twice",
        low=0.0,
        high=6.0,
        twice=np.asarray([1, 1, 2, 2], np.float32),
    )
    context = context_for(source)
    plan = AssignIntegers(per_channel=per_channel).revise(context, QuantPlan())
    for revision in (
        ShareParams(),
        NarrowActivations(4, edges=True),
        FitActivations("mse"),
        FitWeights(),
    ):
        plan = revision.revise(context, plan)
    assert {str(plan.values[name].spec.dtype) for name in "xr"} == {"uint4"}
    assert violations(plan, source, context.target, context.shapes) == []
    made = lowered(source, plan)
    params = plan.values["y"].params
    assert params is not None
    assert_runs_alike(made, list(context.samples(4)), {"y": float(params.scale.max())}, layers=3)
    ops = optimized_ops(made)
    assert ops["QLinearConv"] == 2
    assert ops["Conv"] + ops["FusedConv"] == 0
    assert ops["QuantizeLinear"] <= 2
