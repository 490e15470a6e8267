"""Small quantized networks with whatever onnxruntime fuses, and plans that differ in ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.narrow_activations import NarrowActivations
from onnxq.plan.quant_plan import QuantPlan
from tests.passes.plan.planning import context_for, revised, samples_for
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

    from tests.passes.plan.planning import Feeds

__all__ = ["NETWORKS", "activations", "first_plan", "outlying", "scaled"]

_BRANCHES = """f (float[1,4,8,8] x, float[8,4,3,3] w0, float[8] b0, float[8,8,1,1] w1, float[8] b1,
    float[8,8,3,3] w2, float[8,16,1,1] w3, float[8] b3, float[3,8] g, float[3] h)
    => (float[1,3] y) {
    c0 = Conv<pads = [1,1,1,1]>(x, w0, b0)
    r0 = Relu(c0)
    c1 = Conv(r0, w1, b1)
    l1 = LeakyRelu<alpha = 0.1>(c1)
    c2 = Conv<pads = [1,1,1,1]>(l1, w2)
    s2 = Sigmoid(c2)
    m2 = Mul(c2, s2)
    a2 = Add(m2, r0)
    p2 = MaxPool<kernel_shape = [3,3], pads = [1,1,1,1], strides = [1,1]>(a2)
    k = Concat<axis = 1>(p2, l1)
    c3 = Conv(k, w3, b3)
    h3 = HardSwish(c3)
    q = GlobalAveragePool(h3)
    f = Flatten(q)
    y = Gemm<transB = 1>(f, g, h) }"""
_CLIPPED = """f (float[1,4,8,8] x, float[8,4,3,3] w0, float[8] b0, float[8,1,3,3] w1,
    float[4,8,1,1] w2) => (float[1,4,4,4] y) {
    low = Constant<value_float = 0.0>()
    high = Constant<value_float = 1.5>()
    c0 = Conv(x, w0, b0)
    r0 = Clip(c0, low, high)
    c1 = Conv<group = 8>(r0, w1)
    r1 = Clip(c1, low, high)
    y = Conv(r1, w2) }"""
_TOKENS = """f (float[1,6,8] x, float[8,16] w0, float[16] b0, float[16,8] w1, float[8] b1,
    float[8] s, float[8] t) => (float[1,6,8] y) {
    n = LayerNormalization(x, s, t)
    m0 = MatMul(n, w0)
    a0 = Add(m0, b0)
    g0 = Gelu(a0)
    m1 = MatMul(g0, w1)
    a1 = Add(m1, b1)
    y = Add(a1, x) }"""
_CHANNELS = """f (float[1,4,6,6] x, float[8,4,3,3] w0, float[8] b0, float[8,1,3,3] w1, float[8] b1,
    float[4,8,1,1] w2, float[4] b2) => (float[1,4,2,2] y) {
    c0 = Conv(x, w0, b0)
    r0 = Relu(c0)
    c1 = Conv<group = 8>(r0, w1, b1)
    r1 = Relu(c1)
    y = Conv(r1, w2, b2) }"""


def branches() -> ir.Model:
    """Relu, LeakyRelu, SiLU, HardSwish, a residual, a pool and a concatenation on codes."""
    return build(
        _BRANCHES, w0=rng_weight(8, 4, 3, 3), b0=rng_weight(8), w1=rng_weight(8, 8, 1, 1, seed=1),
        b1=rng_weight(8, seed=2), w2=rng_weight(8, 8, 3, 3, seed=3) / 8,
        w3=rng_weight(8, 16, 1, 1, seed=4) / 4, b3=rng_weight(8, seed=5),
        g=rng_weight(3, 8, seed=6), h=rng_weight(3, seed=7),
    )  # fmt: skip


def clipped() -> ir.Model:
    """Clips that vanish into quantization, a depthwise convolution, an output of codes."""
    return build(
        _CLIPPED, w0=rng_weight(8, 4, 3, 3), b0=rng_weight(8), w1=rng_weight(8, 1, 3, 3, seed=1),
        w2=rng_weight(4, 8, 1, 1, seed=2),
    )  # fmt: skip


def tokens() -> ir.Model:
    """Matrix products with added biases, a residual of floats."""
    return build(
        _TOKENS, w0=rng_weight(8, 16), b0=rng_weight(16), w1=rng_weight(16, 8, seed=1),
        b1=rng_weight(8, seed=2), s=rng_weight(8, seed=3), t=rng_weight(8, seed=4),
    )  # fmt: skip


def channels() -> ir.Model:
    """Values with a scale per channel, which convolutions take into their weights."""
    return build(
        _CHANNELS, w0=rng_weight(8, 4, 3, 3) * (2.0 ** np.arange(8)).reshape(8, 1, 1, 1) / 16,
        b0=rng_weight(8), w1=rng_weight(8, 1, 3, 3, seed=1), b1=rng_weight(8, seed=2),
        w2=rng_weight(4, 8, 1, 1, seed=3) / 4, b2=rng_weight(4, seed=4),
    )  # fmt: skip


NETWORKS = {"branches": branches, "clipped": clipped, "tokens": tokens, "channels": channels}


def outlying(model: ir.Model, power: float = 3.0, count: int = 8) -> list[Feeds]:
    """Returns samples with outliers that matter at the outputs."""
    return [
        {name: np.sign(array) * np.abs(array) ** power for name, array in sample.items()}
        for sample in samples_for(model, count)
    ]


def first_plan(model: ir.Model, bits: int = 8) -> QuantPlan:
    """Returns a plan with params, fitted on random samples."""
    context = context_for(model)
    plan = revised(AssignIntegers(per_channel=False), context, QuantPlan())
    plan = revised(NarrowActivations(bits), context, plan) if bits < 8 else plan
    plan = revised(FitActivations("minmax"), context, plan)
    return revised(FitWeights(), context, plan)


def activations(model: ir.Model, plan: QuantPlan) -> list[str]:
    """Returns the planned values that nodes write, in graph order."""
    names = [str(value.name) for node in model.graph for value in node.outputs]
    return [name for name in names if name in plan.values]


def scaled(plan: QuantPlan, factor: float, *names: str) -> QuantPlan:
    """Returns the plan with other scales of these values and of what shares params with them."""
    changed = {}
    for name in {member for one in names for member in plan.group_of(one)}:
        if name in plan.values:
            params = plan.values[name].params
            assert params is not None
            scale = np.asarray(params.scale * np.float32(factor))
            changed[name] = replace(plan.values[name], params=replace(params, scale=scale))
    return plan.with_values(changed)
