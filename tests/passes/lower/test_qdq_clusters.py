from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.graph.query import weight_of
from onnxq.numerics.affine import dequantize, quantize
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.plan.check import violations
from onnxq.plan.cluster_sites import written_value
from onnxq.plan.clusters import Cluster, ClusterSplit, columns_of
from onnxq.plan.quant_plan import ValuePlan
from onnxq.plan.spec import PerAxis, QParams
from tests.passes.lower.optimized import assert_runs_alike, lowered, optimized_ops
from tests.passes.plan.planning import build, context_for, plan_for
from tests.passes.rewrite.building import ops, rng_weight
from tests.support import run

if TYPE_CHECKING:
    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan

TAKEN = np.array([1, 4])


def scaled(plan: ValuePlan, factor: float) -> ValuePlan:
    assert plan.params is not None
    params = QParams(plan.params.scale * np.float32(factor), plan.params.zero_point)
    return replace(plan, params=params, codes=None)


def split_plan(
    context: PlanContext, parts: tuple[np.ndarray, ...] = (TAKEN,), bits: int = 8
) -> QuantPlan:
    """Takes channels out of x, with scales of their own: twice and three times as coarse."""
    plan = plan_for(context, AssignIntegers(weight_bits=bits))
    readers = [node for node in context.model.graph if node.inputs[0].name == "x"]  # type: ignore[union-attr]
    values, sums, clusters = dict(plan.values), {}, []
    for node in readers:
        if node.op_type != "Conv":
            continue
        written = str(written_value(node, plan).name)
        behind_relu = written != node.outputs[0].name
        params = QParams(np.asarray(0.2, np.float32), np.asarray(0 if behind_relu else 128))
        values[written] = ValuePlan(plan.values["x"].spec, params)
        around = QParams(np.asarray(0.3, np.float32), np.asarray(128))
        sums[str(node.name)] = ValuePlan(plan.values["x"].spec, around)
    for number, channels in enumerate(parts, 2):
        weights: dict[str, ValuePlan] = {}
        for node in readers:
            weight = weight_of(node.inputs[1])
            assert weight is not None
            planned = plan.values[str(node.inputs[1].name)]  # type: ignore[union-attr]
            weights[str(node.name)] = scaled(planned, number)
        clusters.append(Cluster(channels, scaled(plan.values["x"], number), weights))
    return replace(plan, values=values, clusters={"x": ClusterSplit(tuple(clusters), sums)})


def convolution(body: str = "y = Conv<pads = [1,1,1,1]>(x, w, b)") -> ir.Model:
    return build(
        f"f (float[1,6,8,8] x, float[5,6,3,3] w, float[5] b) => (float[1,5,M,N] y) {{ {body} }}",
        w=rng_weight(5, 6, 3, 3), b=rng_weight(5),
    )  # fmt: skip


def product(body: str) -> ir.Model:
    return build(
        f"f (float[4,6] x, float[6,5] w, float[5] b) => (float[4,5] y) {{ {body} }}",
        w=rng_weight(6, 5), b=rng_weight(5),
    )  # fmt: skip


def rounded(x: np.ndarray, plan: ValuePlan) -> np.ndarray:
    assert plan.params is not None
    dtype, axis = plan.spec.dtype, plan.spec.axis
    low = -dtype.qmax if dtype.signed else dtype.qmin
    codes = quantize(x, plan.params.scale, plan.params.zero_point, (low, dtype.qmax), axis)
    return dequantize(codes, plan.params.scale, plan.params.zero_point, axis)


@pytest.mark.parametrize("parts", [(TAKEN,), (TAKEN, np.array([0]))])
def test_a_product_is_the_sum_of_what_the_plan_rounds_apart(parts: tuple[np.ndarray, ...]) -> None:
    context = context_for(product("y = MatMul(x, w)"))
    plan = split_plan(context, parts)
    made = lowered(context.model, plan)
    x = next(iter(context.samples(1)))["x"]
    weight = weight_of(context.model.graph.node("node_y").inputs[1])
    assert weight is not None
    rest = rounded(weight, plan.values["w"])
    rest[np.concatenate(parts)] = 0
    wanted = rounded(x, plan.values["x"]) @ rest
    for part in plan.clusters["x"].parts:
        columns = rounded(
            columns_of(context.model.graph.node("node_y"), weight, part.channels),
            part.weights["node_y"],
        )
        wanted = wanted + rounded(x[:, part.channels], part.value) @ columns
    for level in ("off", "all"):
        found = run(made, {"x": x}, level)["y"]
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


CASES = {
    "conv": (convolution(), {"QLinearConv": 2, "QLinearAdd": 1}),
    "conv, relu": (
        convolution("c = Conv(x, w, b) y = Relu(c)"), {"QLinearConv": 2, "QLinearAdd": 1},
    ),
    "matmul": (product("y = MatMul(x, w)"), {"MatMulIntegerToFloat": 2, "Sum": 1}),
    "matmul, bias": (
        product("m = MatMul(x, w) y = Add(m, b)"), {"MatMulIntegerToFloat": 2, "Sum": 1, "Add": 1},
    ),
    "gemm": (product("y = Gemm(x, w, b)"), {"QGemm": 2, "Add": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_partial_sums_keep_integer_kernels(case: str) -> None:
    source, kernels = CASES[case]
    context = context_for(source)
    plan = split_plan(context)
    assert violations(plan, source, context.target, context.shapes) == []
    made = lowered(source, plan)
    found = optimized_ops(made)
    assert {op: found[op] for op in kernels} == kernels
    assert not {"Conv", "Gemm", "MatMul", "FusedConv", "FusedGemm"} & set(found)
    # three roundings, of which two have the coarser step; float sums are all but equal
    step = 0.3 if "y" in plan.values else 1e-5
    assert_runs_alike(made, list(context.samples(3)), {"y": step}, layers=3)
    wanted, got = (run(m, next(iter(context.samples(1))), "all")["y"] for m in (source, made))
    assert np.abs(wanted - got).max() < 0.1 * np.abs(wanted).max()


def test_the_sum_keeps_the_name_of_the_node_and_of_its_value() -> None:
    context = context_for(convolution("c = Conv(x, w, b) y = Tanh(c)"))
    made = lowered(context.model, split_plan(context))
    node = made.graph.node("node_c")
    assert node.op_type == "Add"
    assert node.outputs[0].name == "c"


def test_what_two_readers_read_is_picked_once() -> None:
    source = build(
        "f (float[4,6] x, float[6,5] w, float[6,5] v) => (float[4,5] y, float[4,5] z)"
        "{ y = MatMul(x, w) z = MatMul(x, v) }",
        w=rng_weight(6, 5), v=rng_weight(6, 5, seed=1),
    )  # fmt: skip
    context = context_for(source)
    made = lowered(source, split_plan(context))
    assert ops(made).count("Gather") == 1
    assert ops(made).count("QuantizeLinear") == 2
    assert optimized_ops(made)["MatMulIntegerToFloat"] == 4


def test_a_gemm_may_hold_its_weight_either_way() -> None:
    source = build(
        "f (float[4,6] x, float[5,6] w) => (float[4,5] y) { y = Gemm<transB = 1>(x, w) }",
        w=rng_weight(5, 6),
    )
    context = context_for(source)
    plan = split_plan(context)
    assert plan.values["w"].spec.granularity == PerAxis(0)
    made = lowered(source, plan)
    wanted, found = (run(m, next(iter(context.samples(1))), "off")["y"] for m in (source, made))
    assert np.abs(wanted - found).max() < 0.05 * np.abs(wanted).max()


def test_without_the_value_there_are_no_clusters() -> None:
    context = context_for(product("y = MatMul(x, w)"))
    assert not split_plan(context).without(["x"]).clusters


@pytest.mark.parametrize("source", [convolution(), product("y = MatMul(x, w)")], ids=["conv", "mm"])
def test_weights_of_few_bits_are_packed_in_every_part(source: ir.Model) -> None:
    wide = split_plan(context := context_for(source))
    plan = split_plan(context, bits=4)
    packed = lowered(source, plan)
    stored = [v.dtype for v in packed.graph.initializers.values()].count(ir.DataType.INT4)
    assert stored == 2
    assert optimized_ops(packed) == optimized_ops(lowered(source, wide))
