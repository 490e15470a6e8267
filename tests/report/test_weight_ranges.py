"""Ranges of weights before and after channels were brought to one size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import IntType, PerAxis, QParams, QuantSpec
from onnxq.report.weight_ranges import WeightWatch
from tests.passes.rewrite.building import build
from tests.report.page.evidence import planned

W = np.array([1, -8, 2], np.float32).reshape(3, 1, 1, 1)
V = np.array([[1, 2, 4], [3, 3, 3]], np.float32).reshape(2, 3, 1, 1)
MODEL = """f (float[1,1,4,4] x, float[3,1,1,1] w, float[2,3,1,1] v) => (float[1,2,4,4] y) {
    a = Conv(x, w)
    y = Conv(a, v) }"""
WEIGHT = planned(0.1)


def plan(**values: object) -> QuantPlan:
    return QuantPlan(values={"w": WEIGHT, "v": WEIGHT, **values})  # type: ignore[dict-item]


def test_before_is_ahead_of_the_first_equalizing_rewrite() -> None:
    watch = WeightWatch()
    watch("fold-batchnorm", build(MODEL, w=W * 100, v=V))
    watch("equalize-layers", build(MODEL, w=W, v=V))
    watch("equalize-layers", build(MODEL, w=W * 3, v=V))

    first, second = watch.ranges(build(MODEL, w=W * 2, v=V), plan())

    assert (first.node, first.before.tolist(), first.after.tolist()) == (
        "node_a",
        [1, 8, 2],
        [2, 16, 4],
    )
    assert second.before.tolist() == second.after.tolist() == [4, 3]


def test_the_plans_factors_are_in_what_is_quantized() -> None:
    spec = QuantSpec(IntType(8, signed=False), symmetric=False, granularity=PerAxis(1))
    params = QParams(np.array([1, 4, 1], np.float32), np.zeros(3, np.int32))
    channels = replace(WEIGHT, spec=spec, params=params)

    first, second = WeightWatch().ranges(build(MODEL, w=W, v=V), plan(a=channels))

    # The common scale is 2^round(mean log2) = 2: rows by 2 / s_c, columns by s_c / 2.
    assert first.after.tolist() == [2, 4, 4]
    assert second.after.tolist() == [4, 6]


def test_a_float_layer_has_no_ranges() -> None:
    float_plan = replace(plan(), float_nodes={"node_a": "why"})

    (only,) = WeightWatch().ranges(build(MODEL, w=W, v=V), float_plan)

    assert only.node == "node_y"
