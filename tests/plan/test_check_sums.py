from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnxq.plan.check import violations
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import PerAxis
from tests.passes.rewrite.building import build, rng_weight
from tests.plan.checking import (
    CPU,
    ONE,
    channel_plan,
    channelwise,
    planned,
)


@pytest.mark.parametrize("with_codes", [False, True], ids=["rounded", "given"])
def test_sums_must_fit_int32(with_codes: bool) -> None:
    size = 70_000
    weight = np.full((size, 2), 0.5, np.float32)
    weight[:, 1] = 1.0
    source = build(
        f"f (float[1,{size}] x, float[{size},2] w) => (float[1,2] y) {{ y = MatMul(x, w) }}",
        w=weight,
    )
    codes = np.rint(weight * 126).astype(np.int32) if with_codes else None
    wide = replace(planned("int8", scale=1 / 126), codes=codes)
    target = replace(CPU, pair_bound=None)
    lines = violations(QuantPlan({"x": planned(), "w": wide}), source, target)
    assert len(lines) == 1
    assert "node 'node_y': the sum of channel 1 may reach 2.25e+09, more than" in lines[0]
    narrow = planned("int8", scale=1 / 63)
    assert violations(QuantPlan({"x": planned(), "w": narrow}), source, target) == []


def test_pairs_are_not_limited_where_kernels_add_in_32_bits() -> None:
    source = build(
        """f (float[1,4,8,8] x, float[4,1,3,3] w) => (float[1,4,6,6] y) {
            y = Conv<group = 4>(x, w) }""",
        w=np.ones((4, 1, 3, 3), np.float32),
    )
    plan = QuantPlan({"x": ONE, "w": planned("int8", scale=1 / 127), "y": ONE})
    assert violations(plan, source, CPU) == []


def test_zero_points_per_channel_count_for_the_bias() -> None:
    source = channelwise("y = Softmax(c)")
    scale = [0.1, 0.1, 0.1, 1e9]
    each = planned("uint8", PerAxis(1), scale, [3, 3, 3, 0])
    plan = channel_plan(source).with_values({"c": each})
    lines = violations(plan, source, replace(CPU, pair_bound=None))
    assert len(lines) == 1
    assert "the bias of channel 3 needs a code of 3e+11" in lines[0]


def test_a_gemm_bias_with_rows() -> None:
    source = build(
        "f (float[2,3] x, float[3,2] w, float[2,2] b) => (float[2,2] y) { y = Gemm(x, w, b) }",
        w=rng_weight(3, 2),
        b=np.array([[1, 2], [1e12, 3]], np.float32),
    )
    plan = QuantPlan({"x": ONE, "w": planned("int8")})
    lines = violations(plan, source, replace(CPU, pair_bound=None))
    assert len(lines) == 1
    assert "the bias of channel 0 needs a code of 1e+14" in lines[0]
