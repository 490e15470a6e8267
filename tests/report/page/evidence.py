"""A result with all evidence, made by hand: what a run of a small network could leave."""

from __future__ import annotations

import numpy as np

from onnxq.conformance.finding import Finding, Severity
from onnxq.numerics.statistics import Stats, ValueStats
from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, QParams, QuantSpec
from onnxq.report.evidence import Drawing, Evidence, LayerError, WeightRanges
from onnxq.report.result import FloatNode, HeavyLayer, Result
from onnxq.runtime.kernel_times import KernelTime
from tests.passes.rewrite.building import build, rng_weight
from tests.report.samples import sample_result

__all__ = ["planned", "result_with_evidence"]

_TEXT = """f (float[1,3,8,8] x, float[4,3,1,1] w, float[4,4,1,1] v) => (float[1,4,8,8] y) {
    a = Conv(x, w)
    r = Relu(a)
    b = Conv(r, v)
    y = Add(b, r) }"""


def planned(scale: float, zero_point: int = 0) -> ValuePlan:
    """An activation in uint8."""
    params = QParams(np.float32(scale), np.int32(zero_point), "mse", 2.0)  # type: ignore[arg-type]
    return ValuePlan(QuantSpec(IntType(8, signed=False), symmetric=False), params)


def result_with_evidence(**changes: object) -> Result:
    """Two convolutions, of which the second stayed float; ``changes`` replace fields."""
    model = build(_TEXT, w=rng_weight(4, 3, 1, 1), v=rng_weight(4, 4, 1, 1))
    rng = np.random.default_rng(0)
    stats = {
        "x": ValueStats.of(rng.normal(size=(1, 3, 8, 8))),
        "r": ValueStats.of(np.maximum(rng.normal(size=(1, 4, 8, 8)), 0)),
    }
    plan = QuantPlan(
        values={"x": planned(0.02, 128), "r": planned(0.01), "w": planned(0.01, 128)},
        float_nodes={"node_b": "its range collapses", "node_y": "output tail"},
        bit_costs={"node_a": {4: 0.25, 8: 0.001}, "node_b": {4: 3.0, 8: 0.0}},
    )
    evidence = Evidence(
        model=model,
        shapes={"a": (1, 4, 8, 8), "r": (1, 4, 8, 8), "b": (1, 4, 8, 8), "y": (1, 4, 8, 8)},
        stats=Stats(stats, 1),
        layers=(
            LayerError("node_a", "r", 41.5, 41.5),
            LayerError("node_b", "b", 33.25, 60.0),
            LayerError("node_y", "y", float("inf"), float("inf")),
        ),
        weights=(
            WeightRanges(
                "node_a",
                np.array([1, 8, 2, 4], np.float32),
                np.array([4, 4, 4, 4], np.float32),
                per_channel=False,
            ),
        ),
        float_times=(KernelTime("r_nchwc", "Conv", 20.0), KernelTime("y", "Add", 3.0)),
        integer_times=(KernelTime("node_a_token_7", "QLinearConv", 11.0),),
        drawings=(Drawing("street", "2 boxes by float", b"\xff\xd8jpeg", 968, 496),),
        digest="ab" * 32,
    )
    fields: dict[str, object] = {
        "plan": plan,
        "evidence": evidence,
        "heavy": (
            HeavyLayer("node_a", "QLinearConv", 768, integer=True),
            HeavyLayer("b", "Conv", 1024, integer=False),
        ),
        "stayed_float": (FloatNode("node_b", "Conv", 1024, "its range collapses"),),
        "findings": (
            Finding(
                "bias-type", Severity.WARNING, "node_b", "Conv", "its bias is float", "round it"
            ),
        ),
        "command": "onnxq optimize net.onnx --data images",
    }
    return sample_result(**{**fields, **changes})
