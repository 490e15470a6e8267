"""Codes of fewer than eight bits: stored in eight, clipped on integers."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, QParams, QuantSpec
from tests.numerics.rounding import fake_quantize
from tests.passes.lower.optimized import between_convs, lowered, quantized
from tests.passes.plan.planning import eager_target
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
